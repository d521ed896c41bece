"""The loop: prompts -> rollout -> rewards -> advantages -> updates. Read it top to bottom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grpo.advantage import Advantages, Standard, best_and_worst, combine
from grpo.config.fields import Config
from grpo.objectives import Objective, Samples, objective
from grpo.optimizer import learning_rate, optimizer_of
from grpo.policies.embeddings import REMEMBERED
from grpo.policies.policy import Policy
from grpo.rewards import Rewards
from grpo.rollout import Rollout, collect
from rewardkit.devices import sent
from rewardkit.errors import RewardKitError
from rewardkit.media.prompts import PromptLine

# What the numbers of a training step are for: the third of their keys.
_PLAN, _SPLIT, _NOISE = 2, 3, 4


@dataclass
class Figures:
    """What one training step has to tell.

    Attributes:
        values: by name, as they go into metrics.jsonl.
        seconds: per phase.
    """

    values: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the seconds of what runs inside it."""
        began = perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - began


class Trainer:
    """A policy in training. `step(i)` depends on the state and on i alone, so a run can go on.

    Args:
        config: the run.
        policy: what is trained.
        rewards: what it is trained on.
        prompts: what it is asked.
    """

    def __init__(
        self, config: Config, policy: Policy, rewards: Rewards, prompts: list[PromptLine]
    ) -> None:
        self.config, self.policy, self.rewards, self.prompts = config, policy, rewards, prompts
        self.sampler = policy.schedule(config.sampler)
        self.objective: Objective = objective(policy, self.sampler, config)
        self.optimizer = optimizer_of(policy, config.optim)
        # Small gradients vanish in float16, unless they are scaled up.
        self.scaler = torch.amp.GradScaler(
            policy.device.type, enabled=policy.dtype == torch.float16
        )
        ema = config.policy.ema
        self.average = (
            None
            if ema is None
            else {name: p.detach().clone() for name, p in policy.parameters().items()}
        )

    def step(self, index: int) -> Figures:
        """One training step."""
        config, figures = self.config, Figures()
        rng = np.random.default_rng([config.seed, index, _PLAN])
        lines = self.choose(index)

        with figures.phase("rollout"), self.objective.sampling():
            self.embed(index, lines)
            plan = self.objective.plan(len(lines), rng)
            rollout = collect(
                self.policy,
                self.sampler,
                lines,
                config.sampler,
                plan,
                (config.seed, index),
            )
        with figures.phase("reward"):
            scores = self.rewards(rollout.media, lines, config.sampler.group_size)
            advantages = self.weigh(scores, figures)
        with figures.phase("update"):
            self.update(index, rollout, advantages, figures)
        return figures

    def choose(self, index: int) -> list[PromptLine]:
        """The prompts of a step: all of them in random order, then all again in another."""
        number, size = self.config.sampler.prompts_per_step, len(self.prompts)
        places = range(index * number, (index + 1) * number)
        orders = {
            turn: np.random.default_rng([self.config.seed, turn]).permutation(size)
            for turn in {place // size for place in places}
        }
        return [self.prompts[orders[place // size][place % size]] for place in places]

    def embed(self, index: int, lines: Sequence[PromptLine]) -> None:
        """Embeds the prompts of a step, and those of the next ones, as many as are remembered.

        So that the text encoders, which may be larger than the network, visit the device seldom.
        """
        asked = [line.prompt for line in lines]
        if self.policy.remembers(asked):
            return
        ahead = max(1, (REMEMBERED - 1) // self.config.sampler.prompts_per_step)
        for step in range(index + 1, min(index + ahead, self.config.steps)):
            asked += [line.prompt for line in self.choose(step)]
        self.policy.remember(asked)

    def weigh(self, scores: dict[str, Tensor], figures: Figures) -> Advantages:
        """Advantages of rewards `[P, G]`, and what to log of both."""
        settings = self.config.advantage
        by = Standard(settings.baseline, settings.scale, settings.unbiased, settings.eps)
        advantages = combine(scores, self.rewards.weights, settings.combine, by)
        for name, values in scores.items():
            figures.values[f"reward/{name}"] = float(values.mean())
            figures.values[f"reward_std/{name}"] = float(values.std(dim=1).mean())
        figures.values["groups_dropped"] = float((~advantages.kept).sum())
        return advantages

    def update(
        self, index: int, rollout: Rollout, advantages: Advantages, figures: Figures
    ) -> None:
        """Gradient steps on the samples of groups whose advantages are not all zero."""
        config, settings = self.config, self.config.objective
        rows, values = self.select(advantages)
        if not len(rows):  # every reward of every group was the same: nothing to learn from
            return
        figures.values |= self.objective.anchor(
            lambda: (
                self._samples(rollout, rows, values, batch)
                for part in self._split(index, 0, len(rows))
                for batch in part.split(config.sampler.batch_size)
            )
        )
        # Groups without advantages have no gradient: they are counted, not computed.
        counted = float(advantages.kept.float().mean()) if config.advantage.count_flat else 1.0
        logged: dict[str, list[tuple[float, Tensor]]] = defaultdict(list)
        lr = learning_rate(config.optim, index, config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        figures.values["lr"] = lr
        made = skipped = 0
        for epoch in range(settings.epochs):
            for part in self._split(index, epoch, len(rows)):
                terms: dict[str, list[tuple[float, Tensor]]] = defaultdict(list)
                for batch in part.split(config.sampler.batch_size):
                    samples = self._samples(rollout, rows, values, batch)
                    keys = (config.seed, index, _NOISE, epoch)
                    for term in self.objective.terms(samples, keys):
                        weight = term.share * len(batch) / len(part)
                        self.scaler.scale(term.loss * weight * counted).backward()
                        terms["loss"].append((weight, term.loss.detach()))
                        for name, value in term.figures.items():
                            terms[name].append((weight, value))
                norm = self._apply()
                if not norm.isfinite():
                    # Its figures are those of an overflow, and may be no numbers.
                    skipped += 1
                    continue
                made += 1
                self._follow(self.objective.updates + made)
                terms["grad_norm"].append((1.0, norm))
                for name, entries in terms.items():
                    logged[name] += entries
        self.objective.finished(made)
        if self.scaler.is_enabled():
            figures.values["updates_skipped"] = float(skipped)
        for name, entries in logged.items():
            total = sum(weight for weight, _ in entries)
            figures.values[name] = float(sum(w * v for w, v in entries) / total)

    def _split(self, index: int, epoch: int, number: int) -> Sequence[Tensor]:
        """Which of `number` samples each update of a pass takes."""
        rng = np.random.default_rng([self.config.seed, index, _SPLIT, epoch])
        shuffled = torch.from_numpy(rng.permutation(number))
        return shuffled.tensor_split(min(self.config.objective.updates, number))

    def select(self, advantages: Advantages) -> tuple[Tensor, Tensor]:
        """Rows of the rollout to train on, and their advantages."""
        values, best = advantages.values, self.config.advantage.best
        groups, size = values.shape
        columns = (
            torch.arange(size).expand(groups, size)
            if best is None
            else best_and_worst(values, best - best // 2, best // 2)
        )
        kept = advantages.kept.nonzero()
        rows = (kept * size + columns[kept[:, 0]]).flatten()
        return rows, values.flatten()[rows]

    def best(self) -> AbstractContextManager[Any]:
        """In force while the policy is shown, scored or exported: the averaged weights, if any."""
        return nullcontext() if self.average is None else self.policy.swapped(self.average)

    def state(self) -> dict[str, Any]:
        """All that a later step depends on."""
        return {
            "parameters": {n: p.detach() for n, p in self.policy.parameters().items()},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "objective": self.objective.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`."""
        with torch.no_grad():
            for name, parameter in self.policy.parameters().items():
                parameter.copy_(state["parameters"][name])
                if self.average is not None:
                    self.average[name].copy_(state["average"][name])
        # Its settings are the configuration's, not the file's.
        ours = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": ours})
        self.scaler.load_state_dict(state["scaler"])
        self.objective.restore(state["objective"])

    def _samples(self, rollout: Rollout, rows: Tensor, values: Tensor, part: Tensor) -> Samples:
        chosen = rows[part]
        advantage = sent(values[part], self.policy.device)
        return Samples(rollout, chosen, rollout.condition_of(chosen), advantage)

    def _apply(self) -> Tensor:
        """One update of the weights; the norm of its gradient before it was clipped."""
        parameters = list(self.policy.parameters().values())
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.optim.max_grad_norm)
        # In float16 too large a scale shows so; the scaler leaves this update out and halves it.
        if not norm.isfinite() and not self.scaler.is_enabled():
            raise RewardKitError(
                f"the gradient's norm is {norm.item()}: training has diverged. Take a lower "
                "optim.lr"
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _follow(self, updates: int) -> None:
        """The averaged weights follow the update of that number, counted from the run's start."""
        if self.average is None:
            return
        weight = 1 - self.config.policy.ema_decay(updates)
        for name, parameter in self.policy.parameters().items():
            self.average[name].lerp_(parameter.detach(), weight)
