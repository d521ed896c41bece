"""Rewards -> advantages: the worth of a sample beside the others of its prompt.

Rewards are [P, G]: P prompts with G samples each. Statistics are computed on the CPU in float64 (a
group of equal rewards has to have no advantage at all, and not every device has float64);
advantages come back in float32, where the rewards were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from rewardkit.errors import InputError, UsageError, unknown

Combine = Literal["advantages", "raw", "gdpo"]


class Standardiser(Protocol):
    """What makes advantages of one reward: `Standard`, or `grpo.history.Recent`."""

    @property
    def unbiased(self) -> bool:
        """Whether std is over n - 1."""

    @property
    def eps(self) -> float:
        """Added to std."""

    def of(self, name: str, rewards: Tensor) -> Tensor:
        """The advantages of the reward of that name, [P, G], float64 on the CPU, as given."""


@dataclass(frozen=True)
class Standard:
    """How rewards become advantages, (r - mean) / (std + eps). The field's conventions differ here.

    Attributes:
        baseline: whose mean is subtracted: that of the prompt's "group" (GRPO), or of the whole
            "batch" (DDPO, where prompts have no statistics of their own).
        scale: whose std divides: that of the "group" (DanceGRPO), of the "batch" (Flow-GRPO's
            global std, under which prompts with little spread count little), the largest of any
            group ("max"), or 1 for "none" (Dr. GRPO).
        unbiased: whether std is over n - 1 (torch's; DanceGRPO) or over n (numpy's; DDPO,
            Flow-GRPO).
        eps: added to std: 1e-8 in DanceGRPO, 1e-6 in DDPO, 1e-4 in Flow-GRPO. It damps groups whose
            spread is not far above it.
    """

    baseline: Literal["group", "batch"] = "group"
    scale: Literal["group", "batch", "max", "none"] = "group"
    unbiased: bool = True
    eps: float = 1e-8

    def of(self, name: str, rewards: Tensor) -> Tensor:
        """The advantages of a reward, [P, G], whatever its name."""
        return _standardise(rewards, self)


@dataclass(frozen=True)
class Advantages:
    """The advantages of a batch.

    Attributes:
        values: [P, G], float32; [P, G, K] where each of a sample's K stored steps has its own.
        parts: each reward's own advantages before its weight, [P, G], float32.
        kept: [P], bool; False for a group whose advantages are all 0. It has no gradient: leave it
            out and count it, `(~kept).sum()`.
    """

    values: Tensor
    parts: dict[str, Tensor]
    kept: Tensor


def standardise(rewards: Tensor, by: Standard) -> Tensor:
    """The advantages of one reward: [P, G], float32.

    If all rewards under one mean are equal, their advantages are exactly 0.

    Args:
        rewards: [P, G], finite.
        by: conventions.

    Raises:
        InputError: a reward is not finite.
        UsageError: there is nothing to compare a sample with.

    Source: Shao et al. 2024, https://arxiv.org/abs/2402.03300, section 4.1; Xue et al. 2025,
    https://arxiv.org/abs/2505.07818, eq. 10; XueZeyue/DanceGRPO fastvideo/train_grpo_flux.py:
    train_one_step; kvablack/ddpo-pytorch and yifan123/flow_grpo, both in stat_tracking.py.
    """
    return _standardise(_read(rewards, "reward"), by).to(rewards.device, torch.float32)


def combine(
    rewards: Mapping[str, Tensor], weights: Mapping[str, float], how: Combine, by: Standardiser
) -> Advantages:
    """One advantage of several rewards.

    Args:
        rewards: by name, each [P, G], finite.
        weights: by the same names.
        how: "advantages" standardises each reward and sums with the weights, so that a weight means
            the same whatever a reward's unit (DanceGRPO); "raw" sums the rewards with the weights
            and standardises the sum, so that the reward with the widest spread rules (Flow-GRPO);
            "gdpo" is "advantages" whose sum is standardised again over the whole batch, so that
            the number of rewards does not change the size of an update (GDPO).
            The sum is clamped and clipped once. DanceGRPO's script for HunyuanVideo sums two
            clipped losses, each of its own clamped advantage: the same gradient inside the clip
            range, another where the ratio has left it and the two advantages differ in sign.
        by: conventions.

    Source: of "gdpo", Liu et al. 2026, https://arxiv.org/abs/2601.05242; X-GenGroup/Flow-Factory
    src/flow_factory/advantage/advantage_processor.py: compute_gdpo.

    Raises:
        InputError: a reward is not finite.
        UsageError: names differ, shapes differ, or there is nothing to compare a sample with.
    """
    if not rewards or rewards.keys() != weights.keys():
        raise UsageError(
            f"rewards {sorted(rewards)} and weights {sorted(weights)} given; "
            "each reward needs a weight"
        )
    if len({values.shape for values in rewards.values()}) > 1:
        shapes = {name: list(values.shape) for name, values in rewards.items()}
        raise UsageError(f"rewards of shapes {shapes} given; they are all [P, G]")
    read = {name: _read(values, name) for name, values in rewards.items()}
    parts = {name: by.of(name, values) for name, values in read.items()}
    match how:
        case "advantages":
            values = _weighted(parts, weights)
        case "raw":
            values = by.of("weighted sum", _weighted(read, weights))
        case "gdpo":
            values = _weighted(parts, weights)
            flat = ~values.any(dim=1, keepdim=True)  # without a signal, whatever the batch's mean
            again = Standard("batch", "batch", by.unbiased, by.eps)
            values = _standardise(values, again).masked_fill(flat, 0.0)
        case _:
            raise unknown("combination", how, ["advantages", "raw", "gdpo"], see="grpo.advantage")
    device = next(iter(rewards.values())).device
    return Advantages(
        values.to(device, torch.float32),
        {name: part.to(device, torch.float32) for name, part in parts.items()},
        values.any(dim=1).to(device),
    )


def best_and_worst(scores: Tensor, best: int, worst: int) -> Tensor:
    """The samples worth training on: each prompt's highest and lowest, [P, best + worst], int64.

    Positions in the group, ascending; of equal scores the earlier ones are the lower. Advantages
    come from all G samples, before selection.

    Args:
        scores: [P, G], such as `Advantages.values`.
        best: how many of the highest.
        worst: how many of the lowest.

    Raises:
        UsageError: best + worst is not from 1 to G: a sample would be chosen twice, or none.

    Source: Xue et al. 2025, https://arxiv.org/abs/2505.07818; XueZeyue/DanceGRPO
    fastvideo/train_grpo_hunyuan.py: train_one_step, which ranks all prompts of a rank together.
    """
    group = scores.shape[1]
    if min(best, worst) < 0 or not 1 <= best + worst <= group:
        raise UsageError(
            f"the best {best} and worst {worst} of {group} samples asked for; together they are "
            f"from 1 to {group}"
        )
    order = scores.argsort(dim=1, stable=True)
    return torch.cat([order[:, :worst], order[:, group - best :]], dim=1).sort(dim=1).values


def _read(rewards: Tensor, name: str) -> Tensor:
    """Rewards for statistics, [P, G], float64 on the CPU; refused if one is not finite."""
    if rewards.ndim != 2:
        raise UsageError(f"{name} of shape {list(rewards.shape)} given; it is [P, G]")
    values = rewards.detach().to("cpu", torch.float64)
    wrong = (~values.isfinite()).nonzero().tolist()
    if wrong:
        prompt, sample = wrong[0]
        raise InputError(
            f"{name} is {values[prompt, sample].item()} for sample {sample} of prompt {prompt} "
            f"({len(wrong)} of {values.numel()} are not finite); drop such groups before advantages"
        )
    return values


def _weighted(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    return torch.stack([weights[name] * part for name, part in parts.items()]).sum(0)


def _standardise(values: Tensor, by: Standard) -> Tensor:
    scopes = {by.baseline, by.scale} & {"group", "batch", "max"}
    smallest = values.numel() if scopes == {"batch"} else values.shape[1]
    if smallest < 2:
        raise UsageError(
            f"groups of {values.shape[1]} given; a sample is compared with others of its "
            f"{by.baseline}, so take at least 2 samples per prompt"
        )
    over = (0, 1) if by.baseline == "batch" else (1,)
    centred = values - values.mean(over, keepdim=True)
    # Equal rewards differ from their mean by its rounding, which eps may not be above.
    flat = values.amax(over, keepdim=True) == values.amin(over, keepdim=True)
    centred = centred.masked_fill(flat, 0.0)
    match by.scale:
        case "group":
            std = values.std(1, correction=int(by.unbiased), keepdim=True)
        case "batch":
            std = values.std(correction=int(by.unbiased))
        case "max":
            std = values.std(1, correction=int(by.unbiased)).max()
        case "none":
            return centred
    return centred / (std + by.eps)
