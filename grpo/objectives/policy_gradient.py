"""A surrogate of the expected reward over stored transitions: DDPO, DanceGRPO, Flow-GRPO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, final

from pydantic import Field

from grpo.config.fields import Config, ObjectiveConfig
from grpo.config.sampler import SamplerConfig
from grpo.objectives.objective import Objective, Samples, Term
from grpo.objectives.transitions import (
    Replayed,
    check_log_probs,
    random_share,
    replay,
    replayed_log_probs,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from grpo.policies.policy import Policy
    from grpo.rewards import Rewards
    from grpo.rollout import Plan
    from grpo.sampler import Sampler


@final
class PolicyGradientConfig(ObjectiveConfig):
    """A surrogate of the expected reward over stored transitions."""

    surrogate: Literal["clip", "guard", "divergence"] = "clip"
    """Bound on updates: clipped ratio, clipped normalised ratio (GRPO-Guard), mask (Flow-DPPO)."""
    clip_range: float = Field(default=1e-4, gt=0, lt=1)
    """Clip range of the ratio around 1, for log-probabilities per dimension."""
    divergence: float = Field(default=1e-5, gt=0, le=1000)
    """Divergence per dimension from which surrogate=divergence masks a sample."""
    weight: Literal["none", "size", "gradient"] = "none"
    """Weight of a step: 1, 1 / its size (GRPO-Guard), or 1 / its gradient factor (LongCat)."""
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
        if self.surrogate == "guard" and self.log_prob == "bare":
            raise ValueError(
                "objective.surrogate guard normalises the ratio of a step's Gaussian, and "
                "objective.log_prob is bare. Set it to gaussian"
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
        if self.surrogate != "divergence":
            found["objective.divergence"] = f"objective.surrogate is {self.surrogate}"
        else:
            found["objective.clip_range"] = "objective.surrogate is divergence"
            if not self.reuses:
                found["objective.divergence"] = (
                    "a rollout is used for a single update, so every divergence is 0"
                )
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
        """The policy that drew, if steps are replayed, and the initial model of full training."""
        return self.replays + (self.kl > 0 and not adapted)

    @property
    def reuses(self) -> bool:
        """Whether a rollout is used for several updates, so that ratios may differ from 1."""
        return self.updates * self.epochs > 1

    @property
    def replays(self) -> bool:
        """Whether steps are compared with those that the policy which drew the samples takes."""
        return self.surrogate != "clip" and self.reuses

    def trainable(self, sampler: Sampler) -> list[int]:
        """The steps that may be trained on, whose last one is left out if `drop_last`."""
        random = sampler.stochastic_steps()
        last = sampler.steps - 1 if self.drop_last and len(random) > 1 else sampler.steps
        return [step for step in random if step < last]

    def weights(self, sampler: Sampler) -> Tensor | None:
        """The weight of each step in the loss, [T] on the CPU; None where all are 1."""
        match self.weight:
            case "none":
                return None
            case "size":
                return 1 / sampler.sizes().cpu()
            case "gradient":
                return 1 / sampler.gradient_factors(self.log_prob).cpu()

    def pull(self, config: SamplerConfig, sampler: Sampler) -> dict[int, float]:
        """Of all steps of a window's places, weighted; a guarded ratio is raised to the power s."""
        factors, weights = sampler.gradient_factors(self.log_prob).cpu(), self.weights(sampler)
        if self.surrogate == "guard":
            factors = factors * sampler.stds().cpu()
        if weights is not None:
            factors = factors * weights
        steps = self.trainable(sampler)[: config.window_within]
        return {step: float(factors[step]) for step in steps}

    def _usable(self, sampler: SamplerConfig) -> int:
        """Number of steps that can be trained on; the last step of cps draws no noise."""
        return sampler.steps - (self.drop_last or sampler.rule == "cps")


@final
class PolicyGradient(Objective[PolicyGradientConfig]):
    """A surrogate of the expected reward over stored transitions.

    Surrogates that compare steps with those of the policy that drew the samples replay them under
    a copy of its weights, rounded as training rounds, once for each sample and pass. Keeping the
    means of all stored steps in memory would take more than the copy of a LoRA. In a single update,
    the policy that drew the samples is the trained one, and nothing is replayed.
    """

    config_class = PolicyGradientConfig

    def __init__(self, policy: Policy, sampler: Sampler, config: Config, rewards: Rewards) -> None:
        super().__init__(policy, sampler, config, rewards)
        if self.settings.kl > 0:
            policy.keep("start")
        if self.settings.replays:
            policy.keep("drew")
        self.weights = self.settings.weights(sampler)

    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """All random steps or a window; of all, groups or samples train on a random share."""
        import torch

        from grpo.rollout import Plan

        settings, sampler = self.settings, self.config.sampler
        trainable = settings.trainable(self.sampler)
        if sampler.window_within is not None and sampler.window_size is not None:
            places = sampler.window_within - sampler.window_size + 1
            every = sampler.window_every
            begin = int(rng.integers(places)) if every is None else self.step // every % places
            window = trainable[begin : begin + sampler.window_size]
            return Plan(frozenset(window), torch.tensor([window] * groups), settings.log_prob)
        number = max(1, int(len(trainable) * settings.fraction))
        draws = groups * (sampler.group_size if settings.subset == "sample" else 1)
        kept = random_share(rng, trainable, number, draws)
        return Plan(frozenset(self.sampler.stochastic_steps()), kept, settings.log_prob)

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per stored transition: the new log-probability of the very step that was taken."""
        from grpo.loss import kl_v, kl_x
        from grpo.sde import spread

        settings, number = self.settings, samples.rollout.transitions.index.shape[1]
        for k in range(number):
            # What has no gradient comes first, as `grpo.banks` asks.
            start = self._replay_under("start", samples, k) if settings.kl > 0 else None
            drew = self._replay_under("drew", samples, k) if settings.replays else None
            new = self._replay(samples, k)
            term = Term.of(self._surrogate(samples, k, new, drew), 1 / number)
            if start is not None:
                kl = (
                    kl_x(new.step.mean, start.step.mean, spread(new.step, settings.log_prob))
                    if settings.kl_space == "x"
                    else kl_v(new.output, start.output)
                )
                term = term.penalised("kl", kl, settings.kl)
            yield term

    def before_updates(
        self, probes: Iterable[Samples], batches: Callable[[], Iterable[Samples]]
    ) -> dict[str, float]:
        """The drift of log-probabilities, see `check_log_probs`.

        Surrogates other than the clipped one do not read those of the rollout.
        """
        settings = self.settings
        if settings.replays:
            self.policy.banks["drew"].follow(0.0)  # the weights as they are
        clip_range = settings.clip_range if settings.surrogate == "clip" else None
        return check_log_probs(
            self.policy.world, probes, batches, self._replayed_log_probs, clip_range
        )

    def _surrogate(self, samples: Samples, k: int, new: Replayed, drew: Replayed | None) -> object:
        """The loss of the k-th stored step.

        `drew` is that of the policy which drew the samples, and None where it is not replayed.
        """
        from grpo import surrogates
        from grpo.loss import divergence
        from rewardkit.devices import sent

        settings, past = self.settings, samples.rollout.transitions
        advantage, weight = samples.advantage_at(k), None
        device = advantage.device
        if self.weights is not None:
            weight = sent(self.weights[past.index[samples.rows, k]], device)
        common: dict[str, Any] = {"advantage_clip": self.config.advantage.clamp, "weight": weight}
        if settings.surrogate == "clip":
            old = sent(past.log_prob[samples.rows, k], device)
            clip = settings.clip_range
            return surrogates.clipped_surrogate(
                new.log_prob, old, advantage, clip_range=clip, **common
            )
        drew = drew or new  # the functions below take no gradient of it
        far = divergence(new.step.mean, drew.step.mean, new.step.std)
        pair = new.log_prob, drew.log_prob, advantage, far
        if settings.surrogate == "divergence":
            return surrogates.masked_surrogate(*pair, threshold=settings.divergence, **common)
        std = new.step.std.flatten()
        return surrogates.guarded_surrogate(*pair, std, clip_range=settings.clip_range, **common)

    def _replayed_log_probs(self, samples: Samples) -> Tensor:
        return replayed_log_probs(self.policy, self.sampler, samples, self.settings.log_prob)

    def _replay_under(self, name: str, samples: Samples, k: int) -> Replayed:
        """As `_replay`, under a copy of the weights."""
        with self.policy.using(name):
            return self._replay(samples, k)

    def _replay(self, samples: Samples, k: int) -> Replayed:
        return replay(self.policy, self.sampler, samples, k, self.settings.log_prob)
