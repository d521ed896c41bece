"""Losses of distillation: how far the steps of a student are from those of its teacher.

Computations are in float32 for every input dtype.
"""

from __future__ import annotations

from torch import Tensor

from grpo.sde import Scalar, positive


def step_kl(mean: Tensor, mean_teacher: Tensor, std: Scalar) -> Tensor:
    """KL divergence per dimension of each sample's step to that of its teacher, [B], float32.

    D = mean over dimensions of (mu - mu_T)^2 / (2 s^2), the KL of two Gaussians with equal std.

    Args:
        mean: mu of the student, [B, ...].
        mean_teacher: mu_T of each sample's teacher, [B, ...]; no gradient.
        std: s, above 0.

    Source: https://arxiv.org/abs/2605.08063; CostaliyA/Flow-OPD scripts/train_sd3_opd_mix.py, whose
    code divides by the diffusion g = s / sqrt(D) of a step of the length D.
    """
    mu = mean.float()
    gap = (mu - mean_teacher.detach().float()) / positive(std, mu)
    return 0.5 * gap.square().flatten(1).mean(1)
