"""Latents as a VAE takes them, from those that a pipeline's call returns.

Each function takes the pipeline, its latents `[B, ...]` and the protocol they were sampled with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from rewardkit.generators.protocol import Protocol


def unchanged(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Latents of pipelines that return them as the VAE takes them."""
    return latents


def divided(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Divided by the scaling factor; a shift in the VAE's configuration is not used."""
    scaled: Tensor = latents / pipe.vae.config.scaling_factor
    return scaled


def normalised(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Rescaled by channel if the VAE has means and deviations, else by the scaling factor."""
    settings = pipe.vae.config
    if settings.latents_mean is None or settings.latents_std is None:
        return divided(pipe, latents, protocol)
    mean, std = (
        latents.new_tensor(values).view(1, -1, 1, 1)
        for values in (settings.latents_mean, settings.latents_std)
    )
    scaled: Tensor = latents * std / settings.scaling_factor + mean
    return scaled


def shifted(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Rescaled by the scaling factor and the shift."""
    settings = pipe.vae.config
    scaled: Tensor = latents / settings.scaling_factor + settings.shift_factor
    return scaled


def unpacked_and_shifted(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Latents of FLUX.1, from tokens of 2 x 2."""
    return shifted(pipe, _unpacked(pipe, latents, protocol), protocol)


def standardised(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Rescaled by channel, for the VAE of a video: `[B, C, F, h, w]`."""
    mean, std = (
        latents.new_tensor(values).view(1, -1, 1, 1, 1)
        for values in (pipe.vae.config.latents_mean, pipe.vae.config.latents_std)
    )
    scaled: Tensor = latents / (1 / std) + mean  # in the pipelines' own order, to the last bit
    return scaled


def unpacked_and_standardised(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Latents of Qwen-Image, whose VAE is for videos: one frame, from tokens of 2 x 2."""
    return standardised(pipe, _unpacked(pipe, latents, protocol), protocol)


def _unpacked(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    square: Tensor = pipe._unpack_latents(
        latents, protocol.height, protocol.width, pipe.vae_scale_factor
    )
    return square
