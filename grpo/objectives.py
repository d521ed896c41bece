"""What a method keeps of a rollout, the state it carries, and its loss.

The trainer knows no method: it asks an objective for a plan before sampling, gives it batches of
the samples after, and tells it when weights have moved.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grpo.config.fields import Config, ForwardProcess, PolicyGradient, SamplerConfig
from grpo.loss import clipped_surrogate, kl_v, kl_x, nft
from grpo.policies.condition import Condition
from grpo.policies.policy import Policy
from grpo.rollout import Plan, Rollout
from grpo.sampler import Sampler
from grpo.sde import Step, log_prob, spread
from rewardkit.devices import sent
from rewardkit.generators.noise import generator


@dataclass(frozen=True)
class Samples:
    """Some samples of a rollout and what they are worth.

    Attributes:
        rollout: they are from.
        rows: [n] int64, which of its N.
        condition: theirs.
        advantage: [n] float32.
    """

    rollout: Rollout
    rows: Tensor
    condition: Condition
    advantage: Tensor


@dataclass(frozen=True)
class Term:
    """One loss to differentiate: of some samples at one of their timesteps.

    Attributes:
        loss: mean over the samples.
        share: its weight in the mean over all terms of a pass.
        figures: what to log, scalars.
    """

    loss: Tensor
    share: float
    figures: dict[str, Tensor]


class Objective(ABC):
    """A method's own part of a training step."""

    def __init__(self, policy: Policy, sampler: Sampler, config: Config) -> None:
        self.policy, self.sampler, self.config = policy, sampler, config
        self.updates = 0

    @abstractmethod
    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """Which steps of the coming rollout are random, and which of them are kept."""

    @abstractmethod
    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """The losses of one batch, one at a time, so that only one graph is alive."""

    def sampling(self) -> AbstractContextManager[Any]:
        """In force while a rollout is drawn."""
        return nullcontext()

    def anchor(self, batches: Callable[[], Iterable[Samples]]) -> dict[str, float]:
        """Called before the first update with the batches of the first pass; what to log of it."""
        return {}

    def finished(self, updates: int) -> None:
        """Called when a rollout has been trained on, with the optimizer updates that took."""
        self.updates += updates

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the policy's weights."""
        return {"updates": self.updates}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`."""
        self.updates = state["updates"]


class PolicyGradientObjective(Objective):
    """The clipped surrogate over stored transitions: DDPO, DanceGRPO, Flow-GRPO."""

    def __init__(self, policy: Policy, sampler: Sampler, config: Config) -> None:
        super().__init__(policy, sampler, config)
        assert isinstance(config.objective, PolicyGradient)
        self.settings = config.objective

    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """All random steps or a window; of all, groups or samples train on a random share."""
        trainable = self.sampler.stochastic_steps()
        if self.settings.drop_last and len(trainable) > 1:
            trainable = [i for i in trainable if i < self.sampler.steps - 1]
        sampler: SamplerConfig = self.config.sampler
        if sampler.stochastic == "window":
            assert sampler.window_within is not None and sampler.window_size is not None
            begin = int(rng.integers(sampler.window_within - sampler.window_size + 1))
            window = trainable[begin : begin + sampler.window_size]
            kept = torch.tensor([window] * groups)
            return Plan(frozenset(window), kept, self.settings.log_prob)
        number = max(1, int(len(trainable) * self.settings.fraction))
        draws = groups * (sampler.group_size if self.settings.subset == "sample" else 1)
        chosen = [np.sort(rng.permutation(trainable)[:number]) for _ in range(draws)]
        return Plan(
            frozenset(self.sampler.stochastic_steps()),
            torch.from_numpy(np.stack(chosen)),
            self.settings.log_prob,
        )

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per stored transition: the new log-probability of the very step that was taken."""
        past, rows, settings = samples.rollout.transitions, samples.rows, self.settings
        number = past.index.shape[1]
        for k in range(number):
            x, x_next = past.step(rows, k, self.policy.device)
            index = sent(past.index[rows, k], x.device)
            output, step = _replay(self.policy, self.sampler, samples, x, index)
            std = spread(step, settings.log_prob)
            new = log_prob(x_next, step.mean, std)
            old = sent(past.log_prob[rows, k], x.device)
            surrogate = clipped_surrogate(
                new,
                old,
                samples.advantage,
                clip_range=settings.clip_range,
                advantage_clip=self.config.advantage.clamp,
            )
            loss = surrogate.loss
            figures = {
                "clip_fraction": surrogate.clip_fraction,
                "approx_kl": surrogate.approx_kl,
                "ratio": surrogate.ratio,
            }
            if settings.kl > 0:
                with torch.no_grad(), self.policy.reference():
                    output_ref, step_ref = _replay(self.policy, self.sampler, samples, x, index)
                kl = (
                    kl_x(step.mean, step_ref.mean, std)
                    if settings.kl_space == "x"
                    else kl_v(output, output_ref)
                )
                loss = loss + settings.kl * kl
                figures["kl"] = kl.detach()
            yield Term(loss, 1 / number, figures)

    def anchor(self, batches: Callable[[], Iterable[Samples]]) -> dict[str, float]:
        """How far log-probabilities replayed before any update are off, by step: `drift/step_I`.

        Sampling and training may round differently: by the batch, by what autocast keeps in
        float32, by what a device makes of float32. One batch of each size is replayed, as updates
        will. Where rounding moves one by more than a third of the clip range, the ratio could be
        clipped for it alone; then all are computed again, as training does.
        """
        seen: set[int] = set()
        drifts, steps = [], []
        for batch in batches():
            if len(batch.rows) not in seen:
                seen.add(len(batch.rows))
                past = batch.rollout.transitions
                drifts.append((self._replayed(batch) - past.log_prob[batch.rows]).abs())
                steps.append(past.index[batch.rows])
        drift, index = torch.cat(drifts), torch.cat(steps)
        figures = {
            f"drift/step_{i}": float(drift[index == i].mean())
            for i in sorted(set(index.flatten().tolist()))
        }
        if float(drift.max()) > self.settings.clip_range / 3:
            for batch in batches():
                batch.rollout.transitions.log_prob[batch.rows] = self._replayed(batch)
            figures["log_probs_recomputed"] = 1.0
        return figures

    def _replayed(self, samples: Samples) -> Tensor:
        """Log-probabilities of stored steps under the weights as they are, [n, K], on the CPU."""
        past, rows = samples.rollout.transitions, samples.rows
        columns = []
        with torch.no_grad():
            for k in range(past.index.shape[1]):
                x, x_next = past.step(rows, k, self.policy.device)
                index = sent(past.index[rows, k], x.device)
                _, step = _replay(self.policy, self.sampler, samples, x, index)
                std = spread(step, self.settings.log_prob)
                columns.append(log_prob(x_next, step.mean, std))
        return torch.stack(columns, dim=1).cpu()


class ForwardProcessObjective(Objective):
    """DiffusionNFT: clean samples are noised again; a slower copy of the policy draws them."""

    def __init__(self, policy: Policy, sampler: Sampler, config: Config) -> None:
        super().__init__(policy, sampler, config)
        assert isinstance(config.objective, ForwardProcess)
        self.settings = config.objective
        self.old = {name: p.detach().clone() for name, p in policy.parameters().items()}

    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """The sampler's own steps, nothing kept."""
        return Plan(
            frozenset(self.sampler.stochastic_steps()), torch.zeros(groups, 0, dtype=torch.long)
        )

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per timestep; timesteps and noise belong to the samples, not to the batch."""
        settings, rows = self.settings, samples.rows.tolist()
        x0 = sent(samples.rollout.clean[samples.rows], self.policy.device)
        sources = [generator(*keys, row) for row in rows]
        order = torch.stack([torch.randperm(self.sampler.steps, generator=g) for g in sources])
        for k in range(settings.timesteps):
            index = sent(order[:, k], x0.device)
            noise = torch.stack([torch.randn(x0.shape[1:], generator=g) for g in sources])
            x = self.sampler.noised(x0, sent(noise, x0.device), index)
            timesteps = self.sampler.timesteps.to(x0.device)[index]
            new = self.policy.predict(x, timesteps, samples.condition)
            with torch.no_grad(), self.policy.swapped(self.old):
                old = self.policy.predict(x, timesteps, samples.condition)
            scale, level = self.sampler.as_flow(index)
            parts = nft(
                new,
                old,
                x * scale.view(-1, *[1] * (x.ndim - 1)),
                x0,
                level,
                samples.advantage,
                beta=settings.beta,
                advantage_clip=self.config.advantage.clamp,
            )
            loss = parts.loss
            figures = {
                "positive": parts.positive,
                "negative": parts.negative,
                "deviation": parts.deviation,
            }
            if settings.kl > 0:
                with torch.no_grad(), self.policy.reference():
                    reference = self.policy.predict(x, timesteps, samples.condition)
                kl = kl_v(new, reference)
                loss = loss + settings.kl * kl
                figures["kl"] = kl.detach()
            yield Term(loss, 1 / settings.timesteps, figures)

    def sampling(self) -> AbstractContextManager[Any]:
        """The old policy draws."""
        return self.policy.swapped(self.old)

    def finished(self, updates: int) -> None:
        """`old <- d old + (1 - d) new`; d grows with the updates, as the policy settles."""
        super().finished(updates)
        decay = self.settings.decay(self.updates)
        with torch.no_grad():
            for name, parameter in self.policy.parameters().items():
                self.old[name].lerp_(parameter.detach(), 1 - decay)

    def state(self) -> dict[str, Any]:
        """With the old policy."""
        return {**super().state(), "old": self.old}

    def restore(self, state: Mapping[str, Any]) -> None:
        """With the old policy."""
        super().restore(state)
        for name, values in state["old"].items():
            self.old[name].copy_(values)


def objective(policy: Policy, sampler: Sampler, config: Config) -> Objective:
    """The objective that the configuration asks for."""
    kinds = {
        "policy-gradient": PolicyGradientObjective,
        "forward-process": ForwardProcessObjective,
    }
    return kinds[config.objective.kind](policy, sampler, config)


def _replay(
    policy: Policy, sampler: Sampler, samples: Samples, x: Tensor, index: Tensor
) -> tuple[Tensor, Step]:
    """What the model says at x, and the step that follows from it."""
    output = policy.predict(x, sampler.timesteps.to(x.device)[index], samples.condition)
    return output, sampler.step(output, x, index)
