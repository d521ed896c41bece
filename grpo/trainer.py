"""The loop: prompts -> rollout -> scores -> advantages -> updates. Read it top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grpo import objectives
from grpo.advantage import Advantages, best_and_worst
from grpo.config.fields import Config
from grpo.figures import Figures, Means
from grpo.objectives.objective import Objective, Samples
from grpo.optimizer import Optimizer
from grpo.overlap import Scoring
from grpo.policies.embeddings import REMEMBERED
from grpo.policies.policy import Policy
from grpo.rewards import Rewards
from grpo.rollout import Rollout, collect
from grpo.sharding import put
from grpo.shares import Shares
from rewardkit.devices import sent
from rewardkit.media.prompts import PromptLine

# What random numbers of a training step are for: the third of their keys.
_PLAN, _SPLIT, _NOISE = 2, 3, 4


class Trainer:
    """A policy in training. `step(i)` depends on the state and on i alone, so a run can resume.

    Args:
        config: the run.
        policy: what is trained.
        rewards: what it is trained on.
        prompts: what it draws samples of.
    """

    def __init__(
        self, config: Config, policy: Policy, rewards: Rewards, prompts: list[PromptLine]
    ) -> None:
        self.config, self.policy, self.rewards, self.prompts = config, policy, rewards, prompts
        self.world = policy.world
        self.sampler = policy.schedule(config.sampler)
        kind = objectives.find(config.objective.kind)
        self.objective: Objective[Any] = kind(policy, self.sampler, config, rewards)
        self.modules = dict(self.objective.modules())
        self.world.start_equal(self.modules.values())
        self.optimizer = Optimizer(
            policy.parameters(),
            self.modules,
            self.objective.learning_rate(),
            config.optim,
            policy.device,
            policy.dtype == torch.float16,
        )
        if config.policy.ema is not None:
            policy.keep("average")

    def step(self, index: int) -> Figures:
        """One training step."""
        config, figures = self.config, Figures()
        rng = np.random.default_rng([config.seed, index, _PLAN])
        lines = self.choose(index)

        with Scoring(self.rewards, self.policy, lines, config.sampler.group_size) as scoring:
            with figures.phase("rollout"), self.objective.behaviour():
                self.embed(index, lines)
                self.objective.step = index
                plan = self.objective.plan(len(lines), rng)
                rollout = collect(
                    self.policy,
                    self.sampler,
                    lines,
                    config.sampler,
                    plan,
                    (config.seed, index),
                    scoring.add,
                )
            with figures.phase("reward"):
                scores = scoring.of(rollout)
        with figures.phase("reward"):
            whole = rollout.whole() if self.objective.credit_reads_samples else rollout
            advantages = self.objective.credit(whole, scores)
            figures.scored(scores, advantages)
        with figures.phase("update"):
            self.update(index, rollout, scores, advantages, figures)
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
        prompts = [line.prompt for line in lines]
        if self.policy.remembers(prompts):
            return
        ahead = max(1, (REMEMBERED - 1) // self.config.sampler.prompts_per_step)
        for step in range(index + 1, min(index + ahead, self.config.steps)):
            prompts += [line.prompt for line in self.choose(step)]
        self.policy.remember(prompts)

    def update(
        self,
        index: int,
        rollout: Rollout,
        scores: Mapping[str, Tensor],
        advantages: Advantages,
        figures: Figures,
    ) -> None:
        """Gradient steps on the samples of groups whose advantages are not all zero."""
        config = self.config
        rows, values = self.select(advantages), advantages.values.flatten(0, 1)
        if not len(rows):  # all rewards of each group are equal: no gradient
            return

        def samples(batch: Tensor) -> Samples:
            return self.samples(rollout, batch, scores, values[batch])

        # Groups without advantages have no gradient: they are counted, not computed.
        counted = float(advantages.kept.float().mean()) if config.advantage.count_flat else 1.0
        logged, made, skipped = Means(), 0, 0
        for epoch in range(config.objective.epochs):
            updates = self._split(index, epoch, rows)
            shares = [self.world.deal(batches) for batches in updates]
            probes = _one_of_each_size(updates)
            rollout = rollout.sent(Shares.joined(shares, everywhere=probes))
            if epoch == 0:
                mine = [batch for share in shares for batch, _ in share.mine]
                figures.values |= self.objective.before_updates(
                    map(samples, probes), partial(map, samples, mine)
                )
                figures.values["lr"] = self.optimizer.set_rates(index, config.steps)
            keys = (config.seed, index, _NOISE, epoch)
            for batches, share in zip(updates, shares, strict=True):
                means, size = Means(), sum(map(len, batches))
                self.objective.survey((samples(batch) for batch, _ in share.mine), keys)
                for batch, number in share.mine:
                    for term in self.objective.terms(samples(batch), keys):
                        weight = term.share * number / size
                        self.optimizer.backward(term.loss * weight * counted)
                        means.add(weight, {"loss": term.loss, **term.figures})
                self.world.sum_gradients(self.optimizer.parameters)
                norms = self.optimizer.update()
                if norms is None:  # the figures are those of an overflow, and may be no numbers
                    skipped += 1
                    continue
                made += 1
                self._follow(self.objective.updates + made)
                logged.join(means)
                logged.add(1.0, norms)
        self.objective.after_updates(made)
        if self.policy.dtype == torch.float16:
            figures.values["updates_skipped"] = float(skipped)
        figures.values |= logged.joined(self.world).values()

    def select(self, advantages: Advantages) -> Tensor:
        """Rows of the rollout to train on."""
        values, best = advantages.values, self.config.advantage.best
        groups, size = values.shape[:2]
        columns = (
            torch.arange(size).expand(groups, size)
            if best is None
            else best_and_worst(
                values.reshape(groups, size, -1).mean(2), best - best // 2, best // 2
            )
        )
        kept = advantages.kept.nonzero()
        return (kept * size + columns[kept[:, 0]]).flatten()

    def samples(
        self, rollout: Rollout, rows: Tensor, scores: Mapping[str, Tensor], advantage: Tensor
    ) -> Samples:
        """A batch of the samples of a rollout, on the policy's device.

        Args:
            rollout: the samples.
            rows: [n], which of them.
            scores: [P, G] of each reward.
            advantage: [n] or [n, K].
        """
        device = self.policy.device
        theirs = {name: sent(each.flatten()[rows], device) for name, each in scores.items()}
        return Samples(rollout, rows, rollout.condition_of(rows), theirs, sent(advantage, device))

    def averaged(self) -> AbstractContextManager[Any]:
        """A context for evaluation and export: the averaged weights, if there are any."""
        return nullcontext() if self.config.policy.ema is None else self.policy.using("average")

    def state(self) -> dict[str, Any]:
        """All that a later step depends on."""
        average = self.policy.banks.get("average")
        modules = {
            name: {
                "parameters": {n: p.detach() for n, p in module.named_parameters()},
                "buffers": dict(module.named_buffers()),
            }
            for name, module in self.modules.items()
        }
        return {
            "parameters": {n: p.detach() for n, p in self.policy.parameters().items()},
            "average": None if average is None else average.values,
            **self.optimizer.state(),
            "objective": self.objective.state(),
            **({"modules": modules} if modules else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`."""
        for name, parameter in self.policy.parameters().items():
            put(parameter, state["parameters"][name])
        with torch.no_grad():
            for module_name, module in self.modules.items():
                saved = state["modules"][module_name]
                for name, parameter in module.named_parameters():
                    parameter.copy_(saved["parameters"][name])
                for name, buffer in module.named_buffers():
                    buffer.copy_(saved["buffers"][name])
        if "average" in self.policy.banks:
            self.policy.banks["average"].restore(state["average"])
        self.optimizer.restore(state)
        self.objective.restore(state["objective"])

    def _split(self, index: int, epoch: int, rows: Tensor) -> list[Sequence[Tensor]]:
        """The rows that each update of a pass takes, in batches of `sampler.batch_size`."""
        rng = np.random.default_rng([self.config.seed, index, _SPLIT, epoch])
        shuffled = rows[torch.from_numpy(rng.permutation(len(rows)))]
        parts = shuffled.tensor_split(min(self.config.objective.updates, len(rows)))
        return [part.split(self.config.sampler.batch_size) for part in parts]

    def _follow(self, updates: int) -> None:
        """The averaged weights follow the update of that number, counted from the run's start."""
        if self.config.policy.ema is not None:
            decay = self.config.policy.ema_decay(updates)
            self.policy.banks["average"].follow(decay)


def _one_of_each_size(updates: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The first batch of each size."""
    found: dict[int, Tensor] = {}
    for batch in (batch for batches in updates for batch in batches):
        found.setdefault(len(batch), batch)
    return [*found.values()]
