"""Samples of the policy, and what an objective wants to remember of how they came about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from grpo.config.fields import SamplerConfig
from grpo.policies.condition import Condition
from grpo.policies.policy import Policy
from grpo.sampler import Sampler
from grpo.sde import LogProb, Step, log_prob, spread
from grpo.shares import Shares, cut
from grpo.slots import Slots, chosen
from rewardkit.devices import sent
from rewardkit.generators.noise import generator
from rewardkit.media.batch import Medium
from rewardkit.media.prompts import PromptLine

# What a generator's numbers are for: the third of its keys; 2 to 4 are the trainer's.
_START, _STEPS, _CONDITION = 0, 1, 5


@dataclass(frozen=True)
class Plan:
    """Which steps of a rollout are random and which transitions are kept.

    Attributes:
        stochastic: the steps that draw noise; the others follow the ODE.
        kept: int64 on the CPU, the steps to store, ascending: [P, K], the same for all samples of a
            prompt, or [N, K], for each sample; K may be 0.
        log_prob: what the log-probability of a transition is, see `grpo.sde.spread`.
    """

    stochastic: frozenset[int]
    kept: Tensor
    log_prob: LogProb = "gaussian"

    @classmethod
    def of_clean(cls, sampler: Sampler, groups: int) -> Plan:
        """The plan of an objective that needs clean samples alone: no step is stored."""
        none = torch.zeros(groups, 0, dtype=torch.long)
        return cls(frozenset(sampler.stochastic_steps()), none)

    def first(self, steps: int) -> int:
        """The first of `steps` steps that is random or stored; `steps` where none is."""
        return min([*self.stochastic, *self.kept.flatten().tolist()], default=steps)

    def of_samples(self, owner: Tensor) -> Tensor:
        """`kept` of each sample, [N, K]; `owner` is the prompt of each, [N]."""
        return self.kept if len(self.kept) == len(owner) else self.kept[owner]


@dataclass(frozen=True)
class Transitions:
    """Steps x -> x_next that the policy took; N samples, K of each. All of it is on the CPU.

    Attributes:
        states: [N, S, ...] in the dtype the policy computes in, to which sampling rounded them:
            what the steps begin and end with, once each, so that K steps in a row have K + 1.
        start: [N, K] int64, which state a step begins with.
        end: [N, K] int64, which state it ends with.
        index: [N, K] int64, which step of the sampler.
        log_prob: [N, K] float32, of the policy that took it; NaN where the step was not random.
    """

    states: Tensor
    start: Tensor
    end: Tensor
    index: Tensor
    log_prob: Tensor

    @property
    def x(self) -> Tensor:
        """What the steps begin with, [N, K, ...] float32."""
        return self.states[torch.arange(len(self.states))[:, None], self.start].float()

    @property
    def x_next(self) -> Tensor:
        """What the steps end with, [N, K, ...] float32."""
        return self.states[torch.arange(len(self.states))[:, None], self.end].float()

    def step(self, rows: Tensor, k: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Both ends of some samples' k-th step on `device`, [n, ...] float32."""
        start, end = self.start[rows, k], self.end[rows, k]
        x, x_next = (sent(self.states[rows, slot], device).float() for slot in (start, end))
        return x, x_next


@dataclass(frozen=True)
class Rollout:
    """P prompts with G samples each, N = P G, prompt by prompt.

    Each process holds the samples it has drawn, and those it was sent, at their places among all N;
    at the others, media are None, and tensors hold anything.

    Attributes:
        lines: P, the prompts.
        media: N, on the CPU: what a saved file would hold.
        clean: [N, ...] float32 on the CPU, the latents they were decoded from: x0 as the last step
            saw it.
        condition: of the P prompts: embeddings are large, and a group has one.
        owner: [N] int64, the prompt of each sample.
        transitions: as planned.
        shares: which processes hold which samples.
    """

    lines: Sequence[PromptLine]
    media: list[Medium | None]
    clean: Tensor
    condition: Condition
    owner: Tensor
    transitions: Transitions
    shares: Shares[Any]

    def sent(self, shares: Shares[Any]) -> Rollout:
        """The rollout with each sample's tensors where `shares` has it trained on.

        Log-probabilities come from where the sample counted before; media stay where they are.
        """
        steps = self.transitions
        tensors = (self.clean, steps.states, steps.log_prob)
        numbers = self.shares.outgoing(shares.holders)
        parts = [(rows, [tensor[rows] for tensor in tensors]) for rows in numbers]
        for rows, values in self.shares.exchange(parts):
            for tensor, value in zip(tensors, values, strict=True):
                tensor[rows] = value
        return replace(self, shares=shares)

    def whole(self) -> Rollout:
        """The rollout with every sample on every process."""
        everywhere = Shares.joined([self.shares], everywhere=[range(len(self.owner))])
        media = self.shares.move(self.media, everywhere.holders)
        return replace(self.sent(everywhere), media=media)

    def grouped(self, values: Tensor) -> Tensor:
        """Values of the samples, [N, ...], in the order of their scores, [P, G, ...]."""
        return values.unflatten(0, (len(self.lines), -1))

    def condition_of(self, rows: Tensor) -> Condition:
        """The condition of some samples."""
        return self.condition.index(self.owner[rows])


def collect(
    policy: Policy,
    sampler: Sampler,
    lines: Sequence[PromptLine],
    config: SamplerConfig,
    plan: Plan,
    keys: tuple[int, int],
    drawn: Callable[[int, Sequence[Medium | None]], object] | None = None,
) -> Rollout:
    """G samples of each prompt, drawn without gradients.

    Where a group shares its initial noise, its samples are the same until the first random step:
    that prefix, up to the first step that is stored, is computed once per group. Processes that
    train together draw a share of the batches each.

    Args:
        policy: draws.
        sampler: the schedule and its rule.
        lines: [P], the prompts.
        config: group size, samples per model call, who shares noise.
        plan: which steps are random, which are kept.
        keys: (seed, step) of the run: with prompt and sample they address every random number.
        drawn: called with the media of each batch, and the place of the first of them.
    """
    groups, size = len(lines), config.group_size
    owner = torch.arange(groups).repeat_interleave(size)
    kept = plan.of_samples(owner)
    addresses = [(*keys, prompt, sample) for prompt in range(groups) for sample in range(size)]
    # What is random of a condition is drawn once per prompt: a group shares it.
    sources = [generator(*keys, _CONDITION, prompt) for prompt in range(groups)]
    condition = policy.encode(lines, sources)
    slots = Slots.of(kept)
    shares = policy.world.deal(cut(len(owner), config.batch_size))
    media: list[Medium | None] = [None] * len(owner)
    with torch.no_grad():
        x, first = _start(policy, sampler, condition, config, plan, keys, groups)
        x = x[sent(owner, x.device)] if len(x) == groups else x
        clean = torch.empty(x.shape)
        states = torch.empty(*slots.state.shape, *x.shape[1:], dtype=policy.dtype)
        logs = torch.empty(kept.shape)
        for batch, _ in shares.mine:
            part = slice(batch[0], batch[-1] + 1)
            media[part], clean[part], states[part], logs[part] = _chunk(
                policy,
                sampler,
                x[part],
                condition.index(owner[part]),
                plan,
                slots.state[part],
                kept[part],
                first,
                addresses[part],
            )
            if drawn is not None:
                drawn(part.start, media[part])
    steps = Transitions(states, slots.start, slots.end, kept, logs)
    return Rollout(lines, media, clean, condition, owner, steps, shares)


def _start(
    policy: Policy,
    sampler: Sampler,
    condition: Condition,
    config: SamplerConfig,
    plan: Plan,
    keys: tuple[int, int],
    groups: int,
) -> tuple[Tensor, int]:
    """Where sampling begins: x and the index of the next step; [P, ...] where groups share it."""
    if config.noise == "sample":
        who = [(p, s) for p in range(groups) for s in range(config.group_size)]
        return policy.noise([generator(*keys, _START, p, s) for p, s in who]), 0
    # Sharing among all prompts of a step is DanceGRPO's; within a group, a comparison of equals.
    shared = [() if config.noise == "step" else (p,) for p in range(groups)]
    x = policy.noise([generator(*keys, _START, *address) for address in shared])
    first = plan.first(sampler.steps)
    if first:
        shares = policy.world.deal(cut(groups, config.batch_size))
        for batch, _ in shares.mine:
            part, theirs = slice(batch[0], batch[-1] + 1), condition.index(batch)
            for i in range(first):
                x[part] = _step(policy, sampler, x[part], theirs, i, False).mean
        x = shares.whole_rows(x)
    return x, first


def _chunk(
    policy: Policy,
    sampler: Sampler,
    x: Tensor,
    condition: Condition,
    plan: Plan,
    stored: Tensor,
    kept: Tensor,
    first: int,
    addresses: Sequence[tuple[int, ...]],
) -> tuple[list[Medium], Tensor, Tensor, Tensor]:
    """One batch from x to media: these, clean, and states and log_prob of `Transitions`.

    While it runs, what is stored stays on the device, so that the host waits for it once.
    """
    wanted, logged = set(stored.flatten().tolist()), set(kept.flatten().tolist())
    states: dict[int, Tensor] = {}
    logs: dict[int, Tensor] = {}
    sources = [generator(*a[:2], _STEPS, *a[2:]) for a in addresses]
    clean = x
    for i in range(first, sampler.steps):
        random = i in plan.stochastic
        if random or i in wanted:
            # Rounded as it is stored: training then sees the very numbers that sampling saw.
            x = x.to(policy.dtype).float()
        if i in wanted:
            states[i] = x.to(policy.dtype)
        step = _step(policy, sampler, x, condition, i, random)
        clean, following = step.x0, step.mean
        if random:
            noise = torch.stack([torch.randn(x.shape[1:], generator=g) for g in sources])
            following = step.draw(sent(noise, x.device)).to(policy.dtype).float()
        if i in logged:
            logs[i] = (
                log_prob(following, step.mean, spread(step, plan.log_prob))
                if random
                else x.new_full((len(x),), torch.nan)
            )
        x = following
    if sampler.steps in wanted:
        states[sampler.steps] = x.to(policy.dtype)
    return (
        policy.decode(clean),
        clean.cpu(),
        chosen(states, stored, x.to(policy.dtype)),
        chosen(logs, kept, x.flatten(1)[:, 0]),
    )


def _step(
    policy: Policy, sampler: Sampler, x: Tensor, condition: Condition, i: int, random: bool
) -> Step:
    timesteps = sampler.timesteps[i].expand(len(x)).to(x.device)
    output = policy.predict(x, timesteps, condition)
    return sampler.step(output, x, i, stochastic=random)
