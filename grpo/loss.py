"""Losses: the clipped surrogate, DiffusionNFT's loss, and penalties for moving away.

A loss is the mean over its samples; a caller that accumulates gradients divides it.
Arithmetic is in float32 whatever comes in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from grpo.sde import Scalar, column, positive
from rewardkit.errors import UsageError


@dataclass(frozen=True)
class Surrogate:
    """The clipped surrogate and the figures that show whether it works; all scalars, float32.

    Attributes:
        loss: to be minimised.
        clip_fraction: share of samples whose ratio is outside the clip range. Before the first
            update it is 0; if not, rollout and training disagree by more than the clip range.
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

    A sample stops pulling once its ratio has left the range in the direction its advantage wants,
    and pulls back where it has left it in the other.

    Args:
        log_prob: of the policy in training, [B].
        old_log_prob: of the policy that drew the sample, [B]; without gradient.
        advantage: A, [B].
        clip_range: of the ratio, about 1. It belongs to log-probabilities that are means over
            dimensions (`grpo.sde.log_prob`), hence 1e-4 in DDPO, DanceGRPO and Flow-GRPO.
        advantage_clip: A is cut to plus or minus this before all else; 5 upstream.

    Raises:
        UsageError: the shapes differ; broadcasting would pair each sample with every other.

    Source: Schulman et al. 2017, https://arxiv.org/abs/1707.06347, eq. 7; kvablack/ddpo-pytorch
    scripts/train.py; XueZeyue/DanceGRPO fastvideo/train_grpo_flux.py: train_one_step.
    """
    if not log_prob.shape == old_log_prob.shape == advantage.shape:
        shapes = [list(values.shape) for values in (log_prob, old_log_prob, advantage)]
        raise UsageError(f"log_prob, old_log_prob, advantage of shapes {shapes} given; all are [B]")
    change = log_prob.float() - old_log_prob.detach().float()
    ratio = change.exp()
    a = advantage.detach().float().clamp(-advantage_clip, advantage_clip)
    loss = torch.maximum(-a * ratio, -a * ratio.clamp(1 - clip_range, 1 + clip_range)).mean()
    with torch.no_grad():
        outside = ((ratio - 1).abs() > clip_range).float().mean()
        return Surrogate(loss, outside, 0.5 * change.square().mean(), ratio.mean())


def kl_x(mean: Tensor, mean_ref: Tensor, std: Scalar) -> Tensor:
    """How far a step moved from the reference's, KL per dimension: scalar, float32.

    Mean of (mu - mu_ref)^2 / (2 s^2), the KL between two Gaussians of equal std.

    Args:
        mean: mu of the policy in training, [B, ...].
        mean_ref: mu of the reference, [B, ...]; without gradient.
        std: s, above 0. `Step.std` makes this the KL. Flow-GRPO's code divides by its diffusion
            g = s / sqrt(D) instead, so that its weight belongs to a penalty D times this one.

    Source: Liu et al. 2025, https://arxiv.org/abs/2505.05470; yifan123/flow_grpo
    scripts/train_sd3.py.
    """
    mu = mean.float()
    gap = (mu - mean_ref.detach().float()) / positive(std, mu)
    return 0.5 * gap.square().mean()


def kl_v(velocity: Tensor, velocity_ref: Tensor) -> Tensor:
    """How far a model's output moved from the reference's, mean of (v - v_ref)^2: scalar, float32.

    Args:
        velocity: v of the policy in training, or another output, [B, ...].
        velocity_ref: that of the reference, [B, ...]; without gradient.

    Source: NVlabs/DiffusionNFT scripts/train_nft_sd3.py: kl_div_loss.
    """
    return (velocity.float() - velocity_ref.detach().float()).square().mean()


@dataclass(frozen=True)
class Nft:
    """DiffusionNFT's loss and its two sides; all scalars, float32.

    Attributes:
        loss: to be minimised.
        positive: mean L+, how badly the positive policy predicts x0, whatever the advantage.
        negative: mean L-, likewise.
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
    """DiffusionNFT's loss: pull towards good samples, push from bad ones, in the forward process.

    r = 1/2 + clip(A, -c, c) / (2 c), how good a sample is, from 0 to 1;
    v+ = (1 - beta) v_old + beta v, v- = (1 + beta) v_old - beta v: the implicit policies;
    L+- = mean over dimensions of (x0+- - x0)^2 / w+-, where x0+- = x_t - sigma v+-, and
    w+- = mean |x0+- - x0|, without gradient;
    loss = c / beta mean of r L+ + (1 - r) L-.

    There are no log-probabilities: any sampler may have drawn x0.

    Args:
        velocity: v of the policy in training at x_t, [B, ...].
        velocity_old: that of the slower policy that draws the samples; without gradient.
        x_t: `grpo.sde.noised(x0, noise, sigma)`.
        x0: clean samples, [B, ...].
        sigma: the noise level of x_t.
        advantage: A, [B].
        beta: how far the implicit policies are from the old one, above 0; 1, or 0.1 for several
            rewards.
        advantage_clip: c; 5 upstream. It scales the loss too, as upstream.
        floor: the least w, for a prediction that is all but exact.

    Raises:
        UsageError: advantage is not [B].

    Source: Zheng et al. 2025, https://arxiv.org/abs/2509.16117; NVlabs/DiffusionNFT
    scripts/train_nft_sd3.py.
    """
    if advantage.shape != x0.shape[:1]:
        raise UsageError(
            f"advantage of shape {list(advantage.shape)} given for {len(x0)} samples; it is [B]"
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
    a = advantage.detach().float().clamp(-advantage_clip, advantage_clip)
    r = 0.5 + a / (2 * advantage_clip)
    loss = advantage_clip / beta * (r * above + (1 - r) * below).mean()
    deviation = (new - old).square().mean()
    return Nft(loss, above.mean().detach(), below.mean().detach(), deviation.detach())
