"""Losses of policy gradients: surrogates of the expected reward, and how each bounds an update.

A loss is the mean over its samples; a caller that accumulates gradients divides it. Computations
are in float32 for every input dtype. Log-probabilities are means over dimensions
(`grpo.sde.log_prob`), and so are divergences (`grpo.loss.divergence`); all arguments are [B].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rewardkit.errors import UsageError


@dataclass(frozen=True)
class Surrogate:
    """A clipped surrogate with its diagnostics; all scalars, float32.

    Attributes:
        loss: the loss to minimise.
        clip_fraction: share of samples whose ratio is outside the clip range. It is 0 before the
            first update, unless rollout and training differ by more than the clip range.
        approx_kl: mean of (log_prob - old_log_prob)^2 / 2.
        ratio: mean ratio.
    """

    loss: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor
    ratio: Tensor


@dataclass(frozen=True)
class Masked:
    """The masked surrogate with its diagnostics; all scalars, float32.

    Attributes:
        loss: the loss to minimise.
        masked_fraction: share of samples without a gradient.
        divergence: mean divergence from the policy that drew the samples.
        approx_kl: mean of (log_prob - old_log_prob)^2 / 2.
        ratio: mean ratio.
    """

    loss: Tensor
    masked_fraction: Tensor
    divergence: Tensor
    approx_kl: Tensor
    ratio: Tensor


def clipped_surrogate(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    *,
    clip_range: float,
    advantage_clip: float,
    weight: Tensor | None = None,
    advantage_gradient: bool = False,
) -> Surrogate:
    """The clipped surrogate of PPO and GRPO.

    ratio = exp(log_prob - old_log_prob),
    loss = mean of max(-A ratio, -A clip(ratio, 1 - clip_range, 1 + clip_range)).

    A sample has no gradient once its ratio has left the clip range in the direction of its
    advantage; if the ratio has left it in the other direction, the gradient pulls it back.

    Args:
        log_prob: log-probability under the trained policy.
        old_log_prob: log-probability under the policy that drew the sample; no gradient.
        advantage: A.
        clip_range: range of the ratio around 1. It applies to log-probabilities that are means over
            dimensions, hence 1e-4 in DDPO, DanceGRPO and Flow-GRPO.
        advantage_clip: A is first clamped to plus or minus this value; 5 upstream.
        weight: of each sample in the mean; None is 1.
        advantage_gradient: whether A is differentiated too, as Flow-OPD does; beyond the clamp it
            has no gradient.

    Raises:
        UsageError: the shapes differ; broadcasting would combine each sample with every other.

    Source: Schulman et al. 2017, https://arxiv.org/abs/1707.06347, eq. 7; kvablack/ddpo-pytorch
    scripts/train.py; XueZeyue/DanceGRPO fastvideo/train_grpo_flux.py: train_one_step.
    """
    change = _change(log_prob, old_log_prob, advantage)
    a = _clamped(advantage if advantage_gradient else advantage.detach(), advantage_clip)
    return _clipped(change, change.exp(), a, clip_range, weight)


def guarded_surrogate(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    divergence: Tensor,
    std: Tensor,
    *,
    clip_range: float,
    advantage_clip: float,
    weight: Tensor | None = None,
) -> Surrogate:
    """GRPO-Guard's surrogate: the clipped one of a ratio whose mean and spread no step changes.

    ratio = exp(s (log_prob - old_log_prob + D)).

    The mean of log_prob - old_log_prob over samples is -D, so that plain ratios are below 1, and
    its spread is proportional to 1 / s.

    Args:
        log_prob: as in `clipped_surrogate`, of the step's own Gaussian.
        old_log_prob: as there.
        advantage: as there.
        divergence: D, from the step of the policy that drew the sample.
        std: s, that of the step.
        clip_range: as in `clipped_surrogate`.
        advantage_clip: as there.
        weight: as there; 1 / D sigma upstream, where D sigma is the size of the step.

    Source: Wang et al. 2025, https://arxiv.org/abs/2510.22319; X-GenGroup/Flow-Factory
    src/flow_factory/trainers/grpo.py: GRPOGuardTrainer.
    """
    change = _change(log_prob, old_log_prob, advantage, divergence, std)
    ratio = (std.float() * (change + divergence.float())).exp()
    a = _clamped(advantage.detach(), advantage_clip)
    return _clipped(change, ratio, a, clip_range, weight)


def masked_surrogate(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    divergence: Tensor,
    *,
    threshold: float,
    advantage_clip: float,
    weight: Tensor | None = None,
) -> Masked:
    """Flow-DPPO's surrogate: a sample is masked by its divergence instead of its ratio.

    loss = mean of -A ratio over the samples that are not masked, 0 for the others. A sample is
    masked if D >= threshold, and its ratio has moved from 1 in the direction of its advantage.

    Args:
        log_prob: as in `clipped_surrogate`.
        old_log_prob: as there.
        advantage: as there.
        divergence: D, from the step of the policy that drew the sample; no gradient.
        threshold: of D, a mean over dimensions; 1e-5 upstream.
        advantage_clip: as there; upstream has none.
        weight: as there.

    Source: https://arxiv.org/abs/2606.11025; Tencent-Hunyuan/UniRL unirl/algorithms/flowdppo.py.
    """
    change = _change(log_prob, old_log_prob, advantage, divergence)
    ratio, a = change.exp(), _clamped(advantage.detach(), advantage_clip)
    moved_on = ((ratio > 1) & (a > 0)) | ((ratio < 1) & (a < 0))
    masked = (divergence.detach() >= threshold) & moved_on
    loss = _mean(torch.where(masked, 0.0, -a * ratio), weight)
    with torch.no_grad():
        far = divergence.float().mean()
        return Masked(loss, masked.float().mean(), far, 0.5 * change.square().mean(), ratio.mean())


def boxed_surrogate(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    *,
    clip_range: float,
    scale: float,
) -> Surrogate:
    """DPOK's surrogate: loss = - scale mean of A clip(ratio, 1 - clip_range, 1 + clip_range).

    Unlike in `clipped_surrogate`, a sample has no gradient once its ratio has left the range in
    either direction, and its advantage is not clamped.

    Args:
        log_prob: as in `clipped_surrogate`.
        old_log_prob: as there.
        advantage: A.
        clip_range: as there.
        scale: 100 upstream.

    Source: Fan et al. 2023, https://arxiv.org/abs/2305.16381; google-research/google-research
    dpok/train_online_pg.py: _train_policy_func.
    """
    change = _change(log_prob, old_log_prob, advantage)
    ratio = change.exp()
    bounded = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = -scale * (advantage.detach().float() * bounded).mean()
    with torch.no_grad():
        outside = ((ratio - 1).abs() > clip_range).float().mean()
        return Surrogate(loss, outside, 0.5 * change.square().mean(), ratio.mean())


def _change(log_prob: Tensor, old_log_prob: Tensor, *others: Tensor) -> Tensor:
    """log_prob - old_log_prob, [B]."""
    if not all(log_prob.shape == values.shape for values in (old_log_prob, *others)):
        shapes = [list(values.shape) for values in (log_prob, old_log_prob, *others)]
        raise UsageError(f"log_prob, old_log_prob and advantage must be [B]; got shapes {shapes}")
    return log_prob.float() - old_log_prob.detach().float()


def _clamped(advantage: Tensor, limit: float) -> Tensor:
    return advantage.float().clamp(-limit, limit)


def _mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    return (losses if weight is None else weight.detach().float() * losses).mean()


def _clipped(
    change: Tensor,
    ratio: Tensor,
    a: Tensor,
    clip_range: float,
    weight: Tensor | None,
) -> Surrogate:
    bounded = ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = _mean(torch.maximum(-a * ratio, -a * bounded), weight)
    with torch.no_grad():
        outside = ((ratio - 1).abs() > clip_range).float().mean()
        return Surrogate(loss, outside, 0.5 * change.square().mean(), ratio.mean())
