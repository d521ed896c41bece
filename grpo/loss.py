"""Losses: DiffusionNFT's, and penalties on the distance to a reference.

Those of policy gradients are in `grpo.surrogates`.

A loss is the mean over its samples; a caller that accumulates gradients divides it. Computations
are in float32 for every input dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from grpo.sde import Scalar, column, positive
from rewardkit.errors import UsageError


def divergence(mean: Tensor, mean_ref: Tensor, std: Scalar) -> Tensor:
    """KL divergence per dimension of a step from that of a reference: [B], float32.

    Mean over all dimensions but the first of (mu - mu_ref)^2 / (2 s^2), the KL divergence between
    two Gaussians with equal std.

    Args:
        mean: mu of the trained policy, [B, ...].
        mean_ref: mu of the reference, [B, ...]; no gradient.
        std: s, above 0.
    """
    mu = mean.float()
    gap = (mu - mean_ref.detach().float()) / positive(std, mu)
    return 0.5 * gap.square().flatten(1).mean(1)


def kl_x(mean: Tensor, mean_ref: Tensor, std: Scalar) -> Tensor:
    """Mean of `divergence`, a scalar.

    Args:
        mean: mu of the trained policy, [B, ...].
        mean_ref: mu of the reference, [B, ...]; no gradient.
        std: s, above 0. With `Step.std` the result is the KL. Flow-GRPO's code divides by its
            diffusion g = s / sqrt(D) instead, so its weight applies to D times this penalty.

    Source: Liu et al. 2025, https://arxiv.org/abs/2505.05470; yifan123/flow_grpo
    scripts/train_sd3.py.
    """
    return divergence(mean, mean_ref, std).mean()


def kl_v(velocity: Tensor, velocity_ref: Tensor) -> Tensor:
    """Mean squared distance of the model output to that of the reference: scalar, float32.

    Mean of (v - v_ref)^2.

    Args:
        velocity: v of the trained policy, or another model output, [B, ...].
        velocity_ref: the same output of the reference, [B, ...]; no gradient.

    Source: NVlabs/DiffusionNFT scripts/train_nft_sd3.py: kl_div_loss.
    """
    return (velocity.float() - velocity_ref.detach().float()).square().mean()


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
    a = advantage.detach().float().clamp(-advantage_clip, advantage_clip)
    r = 0.5 + a / (2 * advantage_clip)
    loss = advantage_clip / beta * (r * above + (1 - r) * below).mean()
    deviation = (new - old).square().mean()
    return Nft(loss, above.mean().detach(), below.mean().detach(), deviation.detach())
