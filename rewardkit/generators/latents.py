"""Latents as a VAE takes them, from those that a pipeline's call returns.

Each function takes the pipeline, its latents `[B, ...]` and the protocol they were sampled with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from rewardkit.generators.protocol import Protocol


def divided(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """By the scaling factor; the pipeline has no shift, whatever the VAE's configuration says."""
    scaled: Tensor = latents / pipe.vae.config.scaling_factor
    return scaled


def normalised(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """By channel, where the VAE has means and deviations."""
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
    """By the scaling factor and the shift."""
    settings = pipe.vae.config
    scaled: Tensor = latents / settings.scaling_factor + settings.shift_factor
    return scaled


def unpacked_and_shifted(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Of FLUX.1: from tokens of 2 x 2."""
    return shifted(pipe, _unpacked(pipe, latents, protocol), protocol)


def standardised(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """By channel, of a video's VAE: `[B, C, F, h, w]`."""
    mean, std = (
        latents.new_tensor(values).view(1, -1, 1, 1, 1)
        for values in (pipe.vae.config.latents_mean, pipe.vae.config.latents_std)
    )
    scaled: Tensor = latents / (1 / std) + mean  # in the pipelines' own order, to the last bit
    return scaled


def unpacked_and_standardised(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Of Qwen-Image, whose VAE is a video's: from tokens of 2 x 2, one frame."""
    return standardised(pipe, _unpacked(pipe, latents, protocol), protocol)


def patches(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """Of FLUX.2: from tokens of 2 x 2, by the statistics of the VAE's batch normalisation."""
    statistics = pipe.vae.bn
    side = pipe.vae_scale_factor * 2
    square = latents.mT.unflatten(2, (protocol.height // side, protocol.width // side))
    mean, variance = (
        values.view(1, -1, 1, 1).to(square)
        for values in (statistics.running_mean, statistics.running_var)
    )
    scaled = square * (variance + pipe.vae.config.batch_norm_eps).sqrt() + mean
    unpatched: Tensor = pipe._unpatchify_latents(scaled)
    return unpatched


def _unpacked(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    square: Tensor = pipe._unpack_latents(
        latents, protocol.height, protocol.width, pipe.vae_scale_factor
    )
    return square
