"""Losses of the forward process that depend on all samples of a group, or of an update: DGPO, CRD.

What depends on other samples is computed beforehand and has no gradient. A loss is the mean over
its samples; a caller that accumulates gradients divides it. Computations are in float32 for every
input dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.matching import matching_error
from grpo.sde import column


def group_weights(
    error: Tensor,
    error_ref: Tensor,
    advantage: Tensor,
    group: Tensor,
    *,
    beta: float,
    advantage_clip: float,
) -> Tensor:
    """The weights of direct group preference optimization, one for all samples of a group.

    w = sigmoid(mean over the group of clip(A, -c, c) beta (e - e_ref)). The mean is below 0, and
    the weight below 1/2, where the policy ranks the samples of the group better than the reference.

    Args:
        error: e of the trained policy at the same noise, [n, ...]; whole groups.
        error_ref: e of the reference, [n, ...].
        advantage: A, [n].
        group: [n] int64, the group of each sample.
        beta: rate at which a group loses weight.
        advantage_clip: c.

    Returns:
        [n, ...] float32, without a gradient.

    Source: Luo et al. 2025, https://arxiv.org/abs/2510.08425; X-GenGroup/Flow-Factory
    trainers/dgpo.py: _compute_group_dgpo_loss.
    """
    gap = (error - error_ref).detach().float()
    a = column(advantage.detach().float().clamp(-advantage_clip, advantage_clip), gap)
    sums = gap.new_zeros(int(group.max()) + 1, *gap.shape[1:]).index_add_(0, group, beta * a * gap)
    sizes = torch.bincount(group, minlength=len(sums)).clamp(min=1)
    return (sums / column(sizes, sums)).sigmoid()[group]


@dataclass(frozen=True)
class Dgpo:
    """The loss of direct group preference optimization; all scalars, float32.

    Attributes:
        loss: the loss to minimise.
        group_weight: mean weight of the groups.
        clip_fraction: share of samples that have no gradient.
    """

    loss: Tensor
    group_weight: Tensor
    clip_fraction: Tensor


def dgpo(
    error: Tensor,
    weight: Tensor,
    advantage: Tensor,
    *,
    advantage_clip: float,
    error_old: Tensor | None = None,
    clip_range: float | None = None,
) -> Dgpo:
    """The loss of direct group preference optimization: mean of w clip(A, -c, c) e.

    With a clip range, a sample has no gradient once the ratio exp(e_old - e) has left the range
    around 1 in the direction of its advantage.

    Args:
        error: e of the trained policy, of `matching_error`, [B].
        weight: w of each sample's group, of `group_weights`, [B].
        advantage: A, [B].
        advantage_clip: c.
        error_old: e of the policy that the ratio is to, [B]; needed for a clip range.
        clip_range: range of the ratio around 1; none clips nothing.

    Source: as `group_weights`; there also _maybe_clip_dsm.
    """
    e, a = error.float(), advantage.detach().float().clamp(-advantage_clip, advantage_clip)
    clipped = torch.zeros_like(e, dtype=torch.bool)
    if error_old is not None and clip_range is not None:
        ratio = (error_old - e).detach().exp()
        clipped = torch.where(a > 0, ratio > 1 + clip_range, ratio < 1 - clip_range)
    loss = (weight.detach() * a * torch.where(clipped, e.detach(), e)).mean()
    return Dgpo(loss, weight.detach().mean(), clipped.float().mean())


def relative_error(
    output: Tensor, target: Tensor, *, adaptive: bool, floor: float = 1e-5
) -> Tensor:
    """`matching_error`, if adaptive divided by the mean of |output - target|, [B], float32.

    The divisor is at least `floor`, and has no gradient.
    """
    error = matching_error(output, target)
    if not adaptive:
        return error
    gap = (output.detach().float() - target.detach().float()).abs()
    return error / gap.flatten(1).mean(1).clamp(min=floor)


@dataclass(frozen=True)
class Crd:
    """The loss of centered reward distillation; all scalars, float32.

    Attributes:
        loss: the loss to minimise.
        implicit_reward: mean of the reward that the policy implies.
    """

    loss: Tensor
    implicit_reward: Tensor


def crd(
    reward: Tensor,
    quality: Tensor,
    reward_mean: Tensor,
    quality_mean: Tensor,
    *,
    beta: float,
    advantage_clip: float,
) -> Crd:
    """The loss of centered reward distillation: what the policy implies follows the reward.

    loss = c / beta mean of (beta (r - mean r) - (q - mean q))^2, where r is the reward that the
    policy implies. The means are over all samples of an update; their gradient is not taken.

    Args:
        reward: r, `relative_error` of the old policy less that of the trained one, [B].
        quality: q, of `quality`, [B].
        reward_mean: mean r.
        quality_mean: mean q.
        beta: scale of r, above 0.
        advantage_clip: c, as in q.

    Source: https://arxiv.org/abs/2603.14128; X-GenGroup/Flow-Factory trainers/crd.py:
    _compute_crd_loss with uniform weights.
    """
    centered = beta * (reward.float() - reward_mean.detach())
    gap = centered - (quality - quality_mean).detach()
    loss = advantage_clip / beta * gap.square().mean()
    return Crd(loss, reward.detach().mean())


def kl_of_quality(
    output: Tensor, output_ref: Tensor, quality: Tensor, *, best: float, worst: float
) -> Tensor:
    """Mean squared distance to the reference, weighted by quality: scalar, float32.

    Mean of (worst + q (best - worst)) (v - v_ref)^2: samples with a high reward are held more.

    Args:
        output: v of the trained policy, [B, ...].
        output_ref: v of the reference, [B, ...]; no gradient.
        quality: q, of `quality`, [B].
        best: weight at q = 1.
        worst: weight at q = 0.

    Source: X-GenGroup/Flow-Factory trainers/crd.py: optimize, reward_adaptive_kl.
    """
    weight = worst + quality.detach() * (best - worst)
    return (weight * matching_error(output, output_ref)).mean()
