"""Distances to a reference, which are penalties; losses are in `grpo.surrogates` and `matching`.

A loss is the mean over its samples; a caller that accumulates gradients divides it. Computations
are in float32 for every input dtype.
"""

from __future__ import annotations

from torch import Tensor

from grpo.sde import Scalar, positive


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
