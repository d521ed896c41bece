"""The families of diffusers pipelines that can be sampled: what their call signature does not say.

A family is a class of pipelines. To add one, add its row to `FAMILIES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from rewardkit.generators.protocol import Protocol
    from rewardkit.media.task import Task


@final
@dataclass(frozen=True)
class Family:
    """What one class of pipelines needs.

    Attributes:
        task: what it is asked to make.
        size: the height and width in pixels that a pipeline was trained for.
        multiple: what height and width must be multiples of.
        unscaled: latents `[B, ...]` as the VAE takes them, from those that the call returns.
        settings: given to `from_pretrained`.
        largest: the largest height and width in pixels; None where nothing bounds them.
        references: the argument of the call for each reference of a request.
        negative_prompt: the text that stands for no prompt where guidance needs one.
        longest: the largest `max_sequence_length`, where the call has that argument.
        fps: frames per second of a clip, where the call has no argument for it.
    """

    task: Task
    size: Callable[[Any], tuple[int, int]]
    multiple: Callable[[Any], int]
    unscaled: Callable[[Any, Tensor, Protocol], Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    largest: Callable[[Any], int | None] = lambda pipe: None
    references: Mapping[str, str] = field(default_factory=dict)
    negative_prompt: str = ""
    longest: int = 512
    fps: float | None = None


def _unet_size(pipe: Any) -> tuple[int, int]:
    latents = pipe.unet.config.sample_size
    height, width = (latents, latents) if isinstance(latents, int) else latents
    return height * pipe.vae_scale_factor, width * pipe.vae_scale_factor


def _transformer_size(pipe: Any) -> tuple[int, int]:
    side = pipe.default_sample_size * pipe.vae_scale_factor
    return side, side


def _unet_multiple(pipe: Any) -> int:
    # These pipelines ask for a multiple of 8 whatever their VAE is, and round down to the VAE's.
    return math.lcm(8, pipe.vae_scale_factor)


def _divided(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    # The pipeline has no shift, whatever the VAE's configuration says.
    scaled: Tensor = latents / pipe.vae.config.scaling_factor
    return scaled


def _normalised(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    """By channel, where the VAE has means and deviations."""
    settings = pipe.vae.config
    if settings.latents_mean is None or settings.latents_std is None:
        return _divided(pipe, latents, protocol)
    mean, std = (
        latents.new_tensor(values).view(1, -1, 1, 1)
        for values in (settings.latents_mean, settings.latents_std)
    )
    scaled: Tensor = latents * std / settings.scaling_factor + mean
    return scaled


def _shifted(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    settings = pipe.vae.config
    scaled: Tensor = latents / settings.scaling_factor + settings.shift_factor
    return scaled


def _unpacked(pipe: Any, latents: Tensor, protocol: Protocol) -> Tensor:
    square = pipe._unpack_latents(latents, protocol.height, protocol.width, pipe.vae_scale_factor)
    return _shifted(pipe, square, protocol)


FAMILIES = {
    "StableDiffusionPipeline": Family(
        task="text-to-image",
        size=_unet_size,
        multiple=_unet_multiple,
        unscaled=_divided,
        # The checker blackens what it takes for indecent, often wrongly. A black picture would be
        # scored like any other, and a failure is never a number. Whoever shows pictures to the
        # public checks them there.
        settings={"safety_checker": None, "requires_safety_checker": False},
    ),
    "StableDiffusionXLPipeline": Family(
        task="text-to-image",
        size=_unet_size,
        multiple=_unet_multiple,
        unscaled=_normalised,
        # By default pixels are watermarked where the package invisible-watermark is installed: the
        # same seed would give another picture on another machine.
        settings={"add_watermarker": False},
    ),
    "StableDiffusion3Pipeline": Family(
        task="text-to-image",
        size=_transformer_size,
        multiple=lambda pipe: pipe.vae_scale_factor * pipe.patch_size,
        unscaled=_shifted,
        # Its embedding of positions has so many places a side.
        largest=lambda pipe: (
            pipe.transformer.config.pos_embed_max_size * pipe.vae_scale_factor * pipe.patch_size
        ),
    ),
    "FluxPipeline": Family(
        task="text-to-image",
        size=_transformer_size,
        # Latents are packed 2 x 2. The pipeline itself would round the size, with a warning.
        multiple=lambda pipe: pipe.vae_scale_factor * 2,
        unscaled=_unpacked,
    ),
}


def family(name: str, source: str) -> Family:
    """The family of a pipeline class; `source` is for the error.

    Raises:
        UsageError: pipelines of this class cannot be sampled here.
    """
    if name not in FAMILIES:
        raise UsageError(
            f"{source} is a {name}, and no family here samples those. Accepted: "
            f"{', '.join(FAMILIES)}"
        )
    return FAMILIES[name]
