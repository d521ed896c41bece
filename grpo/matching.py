"""Losses of the forward process: clean samples are noised again, and outputs compared there.

A loss is the mean over its samples; a caller that accumulates gradients divides it. Computations
are in float32 for every input dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from grpo.sde import Scalar, column
from rewardkit.errors import UsageError

#: Forms of the log-likelihood of advantage-weighted matching.
Weighting = Literal["uniform", "t", "t2", "huber", "ghuber"]


def quality(advantage: Tensor, advantage_clip: float) -> Tensor:
    """The quality of samples, from 0 to 1: 1/2 + clip(A, -c, c) / (2 c), [B], float32."""
    a = advantage.detach().float().clamp(-advantage_clip, advantage_clip)
    return 0.5 + a / (2 * advantage_clip)


def matching_error(output: Tensor, target: Tensor) -> Tensor:
    """The error of a network where it is trained: the mean of (output - target)^2, [B], float32.

    Args:
        output: of the network at a noised sample, [B, ...].
        target: what the network is to put out there, [B, ...]; no gradient.
    """
    return (output.float() - target.detach().float()).square().flatten(1).mean(1)


@dataclass(frozen=True)
class Nft:
    """DiffusionNFT's loss and its two parts; all scalars, float32.

    Attributes:
        loss: the loss to minimise.
        positive: mean L+, the error of the positive policy in x0, regardless of the advantage.
        negative: mean L-, the same for the negative policy.
        deviation: mean of (v - v_old)^2.
    """

    loss: Tensor
    positive: Tensor
    negative: Tensor
    deviation: Tensor


def nft(
    velocity: Tensor,
    velocity_old: Tensor,
    x_t: Tensor,
    x0: Tensor,
    sigma: Scalar,
    advantage: Tensor,
    *,
    beta: float,
    advantage_clip: float,
    floor: float = 1e-5,
) -> Nft:
    """DiffusionNFT's loss: attract good samples and repel bad ones in the forward process.

    r = 1/2 + clip(A, -c, c) / (2 c), the quality of a sample, from 0 to 1;
    v+ = (1 - beta) v_old + beta v, v- = (1 + beta) v_old - beta v: the implicit policies;
    L+- = mean over dimensions of (x0+- - x0)^2 / w+-, where x0+- = x_t - sigma v+-, and
    w+- = mean |x0+- - x0|, without gradient;
    loss = c / beta mean of r L+ + (1 - r) L-.

    The loss needs no log-probabilities, so any sampler may have drawn x0.

    Args:
        velocity: v of the trained policy at x_t, [B, ...].
        velocity_old: v of the slower policy that draws the samples; no gradient.
        x_t: `grpo.sde.noised(x0, noise, sigma)`.
        x0: clean samples, [B, ...].
        sigma: the noise level of x_t.
        advantage: A, [B].
        beta: distance of the implicit policies from the old one, above 0; 1, or 0.1 for several
            rewards.
        advantage_clip: c; 5 upstream. It also scales the loss, as upstream.
        floor: minimum of w, for a nearly exact prediction.

    Raises:
        UsageError: advantage is not [B].

    Source: Zheng et al. 2025, https://arxiv.org/abs/2509.16117; NVlabs/DiffusionNFT
    scripts/train_nft_sd3.py.
    """
    if advantage.shape != x0.shape[:1]:
        raise UsageError(
            f"advantage must be [{len(x0)}], one per sample; got shape {list(advantage.shape)}"
        )
    new, old = velocity.float(), velocity_old.detach().float()
    clean = x0.detach().float()
    noisy, level = x_t.detach().float(), column(sigma, clean)

    def badness(v: Tensor) -> Tensor:
        """L of an implicit policy, [B]."""
        error = noisy - level * v - clean
        weight = error.detach().abs().flatten(1).mean(1).clamp(min=floor)
        return error.square().flatten(1).mean(1) / weight

    above = badness((1 - beta) * old + beta * new)
    below = badness((1 + beta) * old - beta * new)
    r = quality(advantage, advantage_clip)
    loss = advantage_clip / beta * (r * above + (1 - r) * below).mean()
    deviation = (new - old).square().mean()
    return Nft(loss, above.mean().detach(), below.mean().detach(), deviation.detach())


def log_likelihood(
    error: Tensor, sigma: Scalar, weighting: Weighting, *, ghuber_power: float = 0.25
) -> Tensor:
    """The log-likelihood that advantage-weighted matching takes a sample to have, [B], float32.

    uniform: -e; t: -sigma e; t2: -sigma^2 e; huber: -sigma (sqrt(e + 1e-10) - 1e-5);
    ghuber: -sigma / p ((e + 1e-10)^p - (1e-10)^p).

    Args:
        error: e, of `matching_error`, [B].
        sigma: the noise level.
        weighting: the form.
        ghuber_power: p.

    Source: Xue et al. 2025, https://arxiv.org/abs/2509.25050; scxue/advantage_weighted_matching
    scripts/train_sd3_awm.py: compute_log_prob_awm.
    """
    e, level, floor = error.float(), column(sigma, error), 1e-10
    match weighting:
        case "uniform":
            return -e
        case "t":
            return -level * e
        case "t2":
            return -level.square() * e
        case "huber":
            return -level * ((e + floor).sqrt() - floor**0.5)
        case "ghuber":
            return -level / ghuber_power * ((e + floor) ** ghuber_power - floor**ghuber_power)


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

    w = sigmoid(mean over the group of clip(A, -c, c) beta (e - e_ref)): a group that is already
    told apart better than by the reference, so that the mean is below 0, counts less.

    Args:
        error: e of the trained policy at the same noise, [n, ...]; whole groups.
        error_ref: e of the reference, [n, ...].
        advantage: A, [n].
        group: [n] int64, the group of each sample.
        beta: how soon a group counts less.
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
