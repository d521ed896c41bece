"""Losses of the forward process: clean samples are noised again, and outputs matched there.

A loss is the mean over its samples; a caller that accumulates gradients divides it. Computations
are in float32 for every input dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
