"""Losses: the clipped surrogate, and penalties on the distance to a reference.

A loss is the mean over its samples; a caller that accumulates gradients divides it. Computations
are in float32 for every input dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.sde import Scalar, positive
from rewardkit.errors import UsageError


@dataclass(frozen=True)
class Surrogate:
    """The clipped surrogate with its diagnostics; all scalars, float32.

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


def clipped_surrogate(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    *,
    clip_range: float,
    advantage_clip: float,
) -> Surrogate:
    """The clipped surrogate of PPO and GRPO.

    ratio = exp(log_prob - old_log_prob),
    loss = mean of max(-A ratio, -A clip(ratio, 1 - clip_range, 1 + clip_range)).

    A sample has no gradient once its ratio has left the clip range in the direction of its
    advantage; if the ratio has left it in the other direction, the gradient pulls it back.

    Args:
        log_prob: log-probability under the trained policy, [B].
        old_log_prob: log-probability under the policy that drew the sample, [B]; no gradient.
        advantage: A, [B].
        clip_range: range of the ratio around 1. It applies to log-probabilities that are means over
            dimensions (`grpo.sde.log_prob`), hence 1e-4 in DDPO, DanceGRPO and Flow-GRPO.
        advantage_clip: A is first clamped to plus or minus this value; 5 upstream.

    Raises:
        UsageError: the shapes differ; broadcasting would combine each sample with every other.

    Source: Schulman et al. 2017, https://arxiv.org/abs/1707.06347, eq. 7; kvablack/ddpo-pytorch
    scripts/train.py; XueZeyue/DanceGRPO fastvideo/train_grpo_flux.py: train_one_step.
    """
    if not log_prob.shape == old_log_prob.shape == advantage.shape:
        shapes = [list(values.shape) for values in (log_prob, old_log_prob, advantage)]
        raise UsageError(f"log_prob, old_log_prob and advantage must be [B]; got shapes {shapes}")
    change = log_prob.float() - old_log_prob.detach().float()
    ratio = change.exp()
    a = advantage.detach().float().clamp(-advantage_clip, advantage_clip)
    loss = torch.maximum(-a * ratio, -a * ratio.clamp(1 - clip_range, 1 + clip_range)).mean()
    with torch.no_grad():
        outside = ((ratio - 1).abs() > clip_range).float().mean()
        return Surrogate(loss, outside, 0.5 * change.square().mean(), ratio.mean())


def kl_x(mean: Tensor, mean_ref: Tensor, std: Scalar) -> Tensor:
    """KL divergence per dimension between a step and that of the reference: scalar, float32.

    Mean of (mu - mu_ref)^2 / (2 s^2), the KL between two Gaussians with equal std.

    Args:
        mean: mu of the trained policy, [B, ...].
        mean_ref: mu of the reference, [B, ...]; no gradient.
        std: s, above 0. With `Step.std` the result is the KL. Flow-GRPO's code divides by its
            diffusion g = s / sqrt(D) instead, so its weight applies to D times this penalty.

    Source: Liu et al. 2025, https://arxiv.org/abs/2505.05470; yifan123/flow_grpo
    scripts/train_sd3.py.
    """
    mu = mean.float()
    gap = (mu - mean_ref.detach().float()) / positive(std, mu)
    return 0.5 * gap.square().mean()


def kl_v(velocity: Tensor, velocity_ref: Tensor) -> Tensor:
    """Mean squared distance of the model output to that of the reference: scalar, float32.

    Mean of (v - v_ref)^2.

    Args:
        velocity: v of the trained policy, or another model output, [B, ...].
        velocity_ref: the same output of the reference, [B, ...]; no gradient.

    Source: NVlabs/DiffusionNFT scripts/train_nft_sd3.py: kl_div_loss.
    """
    return (velocity.float() - velocity_ref.detach().float()).square().mean()
