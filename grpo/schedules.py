"""Where the steps of a sampler start and end: sigmas of flows, timesteps of diffusion models.

Both are what diffusers' schedulers compute. A schedule of T steps has T + 1 sigmas, from noise (1)
to the clean sample (0): step i goes from sigmas[i] to sigmas[i + 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rewardkit.errors import UsageError


def flow_schedule(
    scheduler: Any,
    steps: int,
    *,
    mu: float | None = None,
    shift: float | None = None,
    even: bool = False,
    truncate: bool = False,
) -> tuple[Tensor, Tensor]:
    """The sigmas of a flow's steps, [steps + 1], and its timesteps, [steps]; both float32.

    They are those of the scheduler itself.

    Args:
        scheduler: a FlowMatchEulerDiscreteScheduler, or a UniPCMultistepScheduler of a flow, which
            truncates timesteps always; it stays as it is.
        steps: how many.
        mu: how far the scheduler shifts its sigmas where that depends on the number of tokens or
            of steps (`use_dynamic_shifting`); elsewhere it is not used.
        shift: in place of all by which the scheduler shifts, also towards its last sigma
            (`shift_terminal`); None keeps that.
        even: whether the scheduler is given evenly spaced sigmas to shift, from 1 down to
            1 / steps, as by DanceGRPO and the pipelines of FLUX and Qwen-Image. If False, it spaces
            them itself, down to the lowest sigma that it knows.
        truncate: see `timesteps`.

    Raises:
        UsageError: the scheduler is of another class, or its sigmas rise.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

    settings = scheduler.config
    multistep = isinstance(scheduler, UniPCMultistepScheduler) and settings.use_flow_sigmas
    if not multistep and not isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        raise UsageError(
            f"the pipeline's scheduler is a {type(scheduler).__name__}; sigmas are read from a "
            "FlowMatchEulerDiscreteScheduler, or from a UniPCMultistepScheduler with "
            "use_flow_sigmas. Save the pipeline with one"
        )
    if settings.get("invert_sigmas"):
        raise UsageError(
            "the pipeline's scheduler has invert_sigmas set: its sigmas rise from noise at 0, and "
            "steps here go down from noise at 1. Such a model cannot be trained"
        )
    changes: dict[str, Any] = {}
    if shift is not None:
        changes = {"use_dynamic_shifting": False, "shift_terminal": None}
        changes["flow_shift" if multistep else "shift"] = shift
    made: Any = type(scheduler)
    own = made.from_config(settings, **changes)
    # Rounded as torch rounds them: the last bit decides where DanceGRPO truncates a timestep.
    evenly = torch.linspace(1, 0, steps + 1)[:-1].numpy() if even else None
    own.set_timesteps(
        None if even else steps,
        sigmas=evenly,
        mu=mu if own.config.use_dynamic_shifting else None,
    )
    sigmas: Tensor = own.sigmas
    if multistep:
        # It keeps the first sigma just below 1, since it takes the logarithm of 1 - sigma.
        return sigmas.where(sigmas < 1 - 2e-6, 1.0), own.timesteps.float()
    return sigmas, timesteps(sigmas, truncate=truncate, train_steps=settings.num_train_timesteps)


def linear_shift(settings: Mapping[str, Any], tokens: int) -> float:
    """The mu of samples of this many tokens: a straight line between those of a scheduler.

    Args:
        settings: the scheduler's configuration.
        tokens: of the network's input for one sample.

    Source: diffusers src/diffusers/pipelines/flux/pipeline_flux.py: __call__, calculate_shift.
    """
    few, many = settings.get("base_image_seq_len", 256), settings.get("max_image_seq_len", 4096)
    low, high = settings.get("base_shift", 0.5), settings.get("max_shift", 1.15)
    return float(low + (high - low) / (many - few) * (tokens - few))


def timesteps(sigmas: Tensor, *, truncate: bool, train_steps: int = 1000) -> Tensor:
    """What the network is given for each step's sigma: [steps], float32.

    Args:
        sigmas: [steps + 1]; the last is where the last step ends.
        truncate: cut 1000 sigma to a whole number, as DanceGRPO, so that the network is given a
            little less noise than there is; diffusers and Flow-GRPO do not.
        train_steps: what a sigma of 1 is called.

    Source: XueZeyue/DanceGRPO fastvideo/train_grpo_flux.py: run_sample_step.
    """
    exact = sigmas[:-1].float() * train_steps
    return exact.trunc() if truncate else exact


def ddim_timesteps(scheduler: Any, steps: int) -> Tensor:
    """The timesteps of a DDIMScheduler, highest first: [steps], int64.

    Raises:
        UsageError: more steps than the model was trained on.
    """
    known = len(scheduler.alphas_cumprod)
    if steps <= known:
        scheduler.set_timesteps(steps)
        # With "trailing" it may add one below 0, where its division by the steps is rounded up.
        walked: Tensor = scheduler.timesteps[:steps]
        if walked[0] < known:
            return walked
    raise UsageError(
        f"{steps} steps with offset {scheduler.config.steps_offset} given; the model knows "
        f"timesteps 0 to {known - 1}: take fewer steps"
    )


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
