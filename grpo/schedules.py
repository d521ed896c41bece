"""Where the steps of a sampler start and end: sigmas of flows, timesteps of diffusion models.

A schedule of T steps has T + 1 sigmas, from noise (1) to the clean sample (0): step i goes from
sigmas[i] to sigmas[i + 1].
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rewardkit.errors import UsageError, unknown

Spacing = Literal["leading", "trailing", "linspace"]


def shifted(sigmas: Tensor, shift: float) -> Tensor:
    """Sigmas moved towards noise, shift sigma / (1 + (shift - 1) sigma), in their own dtype.

    The exponential shift by mu of FLUX and Qwen-Image is this one with shift = exp(mu).

    Source: Esser et al. 2024, https://arxiv.org/abs/2403.03206, eq. 23.
    """
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def uniform_sigmas(steps: int, shift: float) -> Tensor:
    """Evenly spaced sigmas from 1 to 0, shifted: [steps + 1], float32.

    DanceGRPO's for every flow, and what diffusers' FLUX pipeline, and Flow-GRPO with it, gives its
    scheduler.

    Source: XueZeyue/DanceGRPO fastvideo/train_grpo_flux.py: sd3_time_shift.
    """
    # In float32 as upstream: rounding decides where a timestep is truncated to.
    return shifted(torch.linspace(1, 0, steps + 1), shift)


def timesteps(sigmas: Tensor, *, truncate: bool, train_steps: int = 1000) -> Tensor:
    """What the model is told of each step's sigma: [steps], float32.

    Args:
        sigmas: [steps + 1]; the last is where the last step ends.
        truncate: cut 1000 sigma to a whole number, as DanceGRPO, so that the model is told a little
            less noise than there is; diffusers and Flow-GRPO do not.
        train_steps: what a sigma of 1 is called.

    Source: XueZeyue/DanceGRPO fastvideo/train_grpo_flux.py: run_sample_step.
    """
    exact = sigmas[:-1].float() * train_steps
    return exact.trunc() if truncate else exact


def ddim_timesteps(
    steps: int, train_steps: int = 1000, *, spacing: Spacing = "leading", offset: int = 0
) -> Tensor:
    """DDIM's timesteps, highest first: [steps], int64.

    Args:
        steps: how many.
        train_steps: how many there were in training.
        spacing: the scheduler's `timestep_spacing`.
        offset: its `steps_offset`, which only "leading" adds; 1 for Stable Diffusion.

    Raises:
        UsageError: more steps than the model was trained on, or an unknown spacing.

    Source: diffusers src/diffusers/schedulers/scheduling_ddim.py: set_timesteps.
    """
    match spacing:
        case "leading":
            spaced = torch.arange(steps).flip(0) * (train_steps // steps) + offset
        case "trailing":
            ratio = train_steps / steps
            spaced = (train_steps - torch.arange(steps, dtype=torch.float64) * ratio).round() - 1
        case "linspace":
            spaced = torch.linspace(0, train_steps - 1, steps, dtype=torch.float64).round().flip(0)
        case _:
            raise unknown(
                "spacing", spacing, ["leading", "trailing", "linspace"], see="grpo.schedules"
            )
    if spaced[0] >= train_steps or steps > train_steps:
        raise UsageError(
            f"{steps} steps with offset {offset} given; the model knows timesteps 0 to "
            f"{train_steps - 1}: take fewer steps"
        )
    return spaced.long()


def ddim_alpha_bars(
    alphas_cumprod: Tensor, timesteps: Tensor, final_alpha_cumprod: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Where each DDIM step starts and ends: alpha_bar and alpha_bar', both [steps], float32.

    A step ends train_steps // steps below its timestep, which with "trailing" need not be where
    the next one starts; the last ends below 0, at final_alpha_cumprod.

    Args:
        alphas_cumprod: [train_steps], the scheduler's.
        timesteps: [steps], of `ddim_timesteps`.
        final_alpha_cumprod: the scheduler's: alphas_cumprod[0], as in DDPO and Stable Diffusion, or
            1 where `set_alpha_to_one`.

    Source: diffusers src/diffusers/schedulers/scheduling_ddim.py: step.
    """
    bars = alphas_cumprod.float()
    ends = timesteps - len(bars) // len(timesteps)
    return bars[timesteps], torch.where(ends >= 0, bars[ends.clamp(min=0)], final_alpha_cumprod)
