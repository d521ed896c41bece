"""The clipped surrogate over stored transitions: DDPO, DanceGRPO, Flow-GRPO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Literal, final

import numpy as np
from pydantic import Field

from grpo.config.fields import Config, ObjectiveConfig
from grpo.config.sampler import SamplerConfig
from grpo.objectives.objective import Objective, Samples, Term

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.policies.policy import Policy
    from grpo.rewards import Rewards
    from grpo.rollout import Plan
    from grpo.sampler import Sampler
    from grpo.sde import Step


@final
class PolicyGradientConfig(ObjectiveConfig):
    """The clipped surrogate over stored transitions: DDPO, DanceGRPO, Flow-GRPO."""

    clip_range: float = Field(default=1e-4, gt=0, lt=1)
    """Clip range of the ratio around 1, for log-probabilities per dimension."""
    log_prob: Literal["gaussian", "bare"] = "gaussian"
    """Log-probability of a step: its Gaussian's, or -(x' - mu)^2 alone; KL in x is likewise."""
    fraction: float = Field(default=1.0, gt=0, le=1)
    """Share of the random steps to train on, drawn per group or per sample (`subset`)."""
    subset: Literal["group", "sample"] = "group"
    """What shares the random steps to train on: the group of a prompt, or each sample alone."""
    drop_last: bool = True
    """Leave the last step out of training."""
    kl: float = Field(default=0.0, ge=0, le=1000)
    """Weight of the KL penalty to the initial model."""
    kl_space: Literal["x", "v"] = "x"
    """Space of that penalty: the mean of a step (x), or the output of the model (v)."""

    def check(self, config: Config) -> None:
        """Refuse a sampler without random steps to train on."""
        super().check(config)
        sampler = config.sampler
        if sampler.deterministic:
            raise ValueError(
                f"sampler.rule {sampler.rule} draws no noise here, so its steps have no "
                "probability, which a policy gradient needs. Use a rule with a "
                "noise_level above 0, or a method of the forward process, such as nft"
            )
        usable = self._usable(sampler)
        if usable < 1:
            raise ValueError(
                "sampler.steps is 1 and the last step is left out, so none is trained on. Use "
                "more steps"
            )
        if sampler.window_within is None:
            return
        if self.fraction < 1:
            raise ValueError(
                f"objective.fraction is {self.fraction:g}, and with sampler.stochastic=window it "
                "is 1: all steps of a window are trained on"
            )
        if sampler.window_within > usable:
            raise ValueError(
                f"sampler.window_within is {sampler.window_within} of {sampler.steps} steps; the "
                f"last is left out, so it is at most {usable}"
            )

    def unread(self, config: Config) -> dict[str, str]:
        """What a penalty, a random share or a last step would read, where there is none."""
        found = super().unread(config)
        if self.kl == 0:
            found["objective.kl_space"] = "objective.kl is 0, so there is no penalty"
        if self.fraction == 1:
            found["objective.subset"] = "objective.fraction is 1, so no step is left out"
        if config.sampler.rule == "cps":
            found["objective.drop_last"] = (
                "the last step of sampler.rule cps draws no noise, so it is always left out"
            )
        return found

    def steps_trained(self, sampler: SamplerConfig) -> int:
        """The window, or a share of the random steps."""
        if sampler.window_size is not None:
            return sampler.window_size
        return max(1, int(self._usable(sampler) * self.fraction))

    def steps_stored(self, sampler: SamplerConfig) -> int:
        """The number of steps that are trained on."""
        return self.steps_trained(sampler)

    def copies(self, adapted: bool) -> int:
        """The initial model, unless a LoRA is trained on top of it."""
        return int(self.kl > 0 and not adapted)

    def _usable(self, sampler: SamplerConfig) -> int:
        """Number of steps that can be trained on; the last step of cps draws no noise."""
        return sampler.steps - (self.drop_last or sampler.rule == "cps")


@final
class PolicyGradient(Objective[PolicyGradientConfig]):
    """The clipped surrogate over stored transitions."""

    config_class = PolicyGradientConfig

    def __init__(self, policy: Policy, sampler: Sampler, config: Config, rewards: Rewards) -> None:
        super().__init__(policy, sampler, config, rewards)
        if self.settings.kl > 0:
            policy.keep("start")

    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """All random steps or a window; of all, groups or samples train on a random share."""
        import torch

        from grpo.rollout import Plan

        settings, sampler = self.settings, self.config.sampler
        trainable = self.sampler.stochastic_steps()
        if settings.drop_last and len(trainable) > 1:
            trainable = [i for i in trainable if i < self.sampler.steps - 1]
        if sampler.window_within is not None and sampler.window_size is not None:
            begin = int(rng.integers(sampler.window_within - sampler.window_size + 1))
            window = trainable[begin : begin + sampler.window_size]
            return Plan(frozenset(window), torch.tensor([window] * groups), settings.log_prob)
        number = max(1, int(len(trainable) * settings.fraction))
        draws = groups * (sampler.group_size if settings.subset == "sample" else 1)
        chosen = [np.sort(rng.permutation(trainable)[:number]) for _ in range(draws)]
        return Plan(
            frozenset(self.sampler.stochastic_steps()),
            torch.from_numpy(np.stack(chosen)),
            settings.log_prob,
        )

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per stored transition: the new log-probability of the very step that was taken."""
        from grpo.loss import clipped_surrogate, kl_v, kl_x
        from grpo.sde import log_prob, spread
        from rewardkit.devices import sent

        past, settings = samples.rollout.transitions, self.settings
        number = past.index.shape[1]
        for k in range(number):
            x, x_next, index = self._taken(samples, k)
            if settings.kl > 0:
                with self.policy.using("start"):
                    output_start, step_start = self._replay(samples, x, index)
            output, step = self._replay(samples, x, index)
            std = spread(step, settings.log_prob)
            loss = clipped_surrogate(
                log_prob(x_next, step.mean, std),
                sent(past.log_prob[samples.rows, k], x.device),
                samples.advantage_at(k),
                clip_range=settings.clip_range,
                advantage_clip=self.config.advantage.clamp,
            )
            term = Term.of(loss, 1 / number)
            if settings.kl > 0:
                kl = (
                    kl_x(step.mean, step_start.mean, std)
                    if settings.kl_space == "x"
                    else kl_v(output, output_start)
                )
                term = term.penalised("kl", kl, settings.kl)
            yield term

    def before_updates(
        self, probes: Iterable[Samples], batches: Callable[[], Iterable[Samples]]
    ) -> dict[str, float]:
        """Error of log-probabilities replayed before any update, by step: `drift/step_I`.

        Sampling and training may round differently: by the batch, by what autocast keeps in
        float32, by what a device makes of float32. One batch of each size is replayed, as updates
        will. Where rounding moves one by more than a third of the clip range, the ratio could be
        clipped for it alone; then all are computed again, as training does.
        """
        import torch

        drifts, steps = [], []
        for batch in probes:
            past = batch.rollout.transitions
            drifts.append((self._replayed(batch) - past.log_prob[batch.rows]).abs())
            steps.append(past.index[batch.rows])
        drift, index = torch.cat(drifts), torch.cat(steps)
        figures = {
            f"drift/step_{i}": float(drift[index == i].mean())
            for i in sorted(set(index.flatten().tolist()))
        }
        if self.policy.world.any(float(drift.max()) > self.settings.clip_range / 3):
            for batch in batches():
                batch.rollout.transitions.log_prob[batch.rows] = self._replayed(batch)
            figures["log_probs_recomputed"] = 1.0
        return figures

    def _replayed(self, samples: Samples) -> Tensor:
        """Log-probabilities of stored steps under the current weights, [n, K], on the CPU."""
        import torch

        from grpo.sde import log_prob, spread

        columns = []
        with torch.no_grad():
            for k in range(samples.rollout.transitions.index.shape[1]):
                x, x_next, index = self._taken(samples, k)
                _, step = self._replay(samples, x, index)
                std = spread(step, self.settings.log_prob)
                columns.append(log_prob(x_next, step.mean, std))
        return torch.stack(columns, dim=1).cpu()

    def _taken(self, samples: Samples, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """Both ends of the samples' k-th stored step, and which step of the sampler it is."""
        from rewardkit.devices import sent

        past, device = samples.rollout.transitions, self.policy.device
        return *past.step(samples.rows, k, device), sent(past.index[samples.rows, k], device)

    def _replay(self, samples: Samples, x: Tensor, index: Tensor) -> tuple[Tensor, Step]:
        """The model's output at x, and the step that follows from it."""
        timesteps = self.sampler.timesteps.to(x.device)[index]
        output = self.policy.predict(x, timesteps, samples.condition)
        return output, self.sampler.step(output, x, index)
