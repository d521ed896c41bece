"""Losses of the forward process: clean samples are noised again, and outputs compared there.

A loss is the mean over its samples; a caller that accumulates gradients divides it. Computations
are in float32 for every input dtype.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from grpo.sde import Scalar, column
from rewardkit.errors import UsageError


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
