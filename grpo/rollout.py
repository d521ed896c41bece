"""Samples of the policy, and what an objective wants to remember of how they came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.config import SamplerConfig
from grpo.policies.condition import Condition
from grpo.policies.policy import Policy
from grpo.sampler import Sampler
from grpo.sde import LogProb, Step, log_prob, spread
from rewardkit.models.noise import generator

# What a generator's numbers are for: the third of its keys.
_START, _STEPS = 0, 1


@dataclass(frozen=True)
class Plan:
    """Which steps of a rollout are random and which transitions are kept.

    Attributes:
        stochastic: the steps that draw noise; the others follow the ODE.
        kept: int64 on the CPU, the stochastic steps to remember: [P, K], the same for all samples
            of a prompt, or [N, K], for each sample; K may be 0.
        log_prob: what the log-probability of a transition is, see `grpo.sde.spread`.
    """

    stochastic: frozenset[int]
    kept: Tensor
    log_prob: LogProb = "gaussian"

    def of_samples(self, owner: Tensor) -> Tensor:
        """`kept` of each sample, [N, K]; `owner` is the prompt of each, [N]."""
        return self.kept if len(self.kept) == len(owner) else self.kept[owner]


@dataclass(frozen=True)
class Transitions:
    """Steps x -> x_next that the policy took; N samples, K of each.

    Attributes:
        x: [N, K, ...].
        x_next: [N, K, ...], as it was stored: rounded to the dtype the policy computes in.
        index: [N, K] int64, which step of the sampler.
        log_prob: [N, K] float32, of the policy that took it.
    """

    x: Tensor
    x_next: Tensor
    index: Tensor
    log_prob: Tensor


@dataclass(frozen=True)
class Rollout:
    """P prompts with G samples each, N = P G, prompt by prompt.

    Attributes:
        media: uint8 [N, 3, H, W] on the CPU: the pixels a saved PNG would have.
        clean: [N, ...] float32, the latents they were decoded from: x0 as the last step saw it.
        condition: of the P prompts: embeddings are large, and a group has one.
        owner: [N] int64, the prompt of each sample.
        transitions: as planned.
    """

    media: Tensor
    clean: Tensor
    condition: Condition
    owner: Tensor
    transitions: Transitions

    def told(self, rows: Tensor) -> Condition:
        """What the network is told of some samples."""
        return self.condition.index(self.owner[rows])


def collect(
    policy: Policy,
    sampler: Sampler,
    prompts: Sequence[str],
    config: SamplerConfig,
    plan: Plan,
    keys: tuple[int, int],
) -> Rollout:
    """G samples of each of `prompts`, drawn without gradients.

    Where a group shares its initial noise, its samples are the same until the first random step:
    that prefix is computed once per group.

    Args:
        policy: draws.
        sampler: the schedule and its rule.
        prompts: [P].
        config: group size, samples per model call, who shares noise.
        plan: which steps are random, which are kept.
        keys: (seed, step) of the run: with prompt and sample they address every random number.
    """
    groups, size = len(prompts), config.group_size
    owner = torch.arange(groups).repeat_interleave(size)
    kept = plan.of_samples(owner)
    addresses = [(*keys, prompt, sample) for prompt in range(groups) for sample in range(size)]
    condition = policy.encode(prompts)
    with torch.no_grad():
        x, first = _start(policy, sampler, condition, config, plan, keys, groups)
        x = x[owner] if len(x) == groups else x
        chunks = [
            _chunk(policy, sampler, x[part], condition.index(owner[part]), plan, kept[part], first,
                   [addresses[i] for i in part.tolist()])
            for part in torch.arange(len(owner)).split(config.batch_size)
        ]  # fmt: skip
    media, clean, *past = (torch.cat(column) for column in zip(*chunks, strict=True))
    return Rollout(media, clean, condition, owner, Transitions(*past))


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
    x = policy.noise([generator(*keys, _START, *one) for one in shared])
    first = min(plan.stochastic, default=sampler.steps)
    for part in torch.arange(groups).split(config.batch_size):
        for i in range(first):
            x[part] = _step(policy, sampler, x[part], condition.index(part), i, False).mean
    return x, first


def _chunk(
    policy: Policy,
    sampler: Sampler,
    x: Tensor,
    condition: Condition,
    plan: Plan,
    kept: Tensor,
    first: int,
    addresses: Sequence[tuple[int, ...]],
) -> tuple[Tensor, ...]:
    """One batch from x to pixels: media, clean, and the columns of `Transitions`."""
    before = x.new_empty(*kept.shape, *x.shape[1:])
    after = torch.empty_like(before)
    logs = x.new_empty(kept.shape)
    sources = [generator(*a[:2], _STEPS, *a[2:]) for a in addresses]
    clean = x
    for i in range(first, sampler.steps):
        random = i in plan.stochastic
        step = _step(policy, sampler, x, condition, i, random)
        clean, following = step.x0, step.mean
        if random:
            noise = torch.stack([torch.randn(x.shape[1:], generator=g) for g in sources])
            # Rounded as it is stored: training then sees the very numbers that sampling saw.
            following = step.draw(noise.to(x.device)).to(policy.dtype).float()
            row, slot = (kept == i).nonzero(as_tuple=True)
            if len(row):
                before[row, slot], after[row, slot] = x[row], following[row]
                std = spread(step, plan.log_prob)
                logs[row, slot] = log_prob(following, step.mean, std)[row]
        x = following
    return policy.decode(clean).cpu(), clean, before, after, kept.to(x.device), logs


def _step(
    policy: Policy, sampler: Sampler, x: Tensor, condition: Condition, i: int, random: bool
) -> Step:
    timesteps = sampler.timesteps[i].expand(len(x)).to(x.device)
    output = policy.predict(x, timesteps, condition)
    return sampler.step(output, x, i, stochastic=random)
