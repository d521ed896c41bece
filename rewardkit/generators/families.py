"""The families of diffusers pipelines that can be sampled: what their call signature does not say.

A family is a class of pipelines. To add one, add its row to `FAMILIES`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, final

from rewardkit.errors import UsageError
from rewardkit.generators.protocol import Protocol

if TYPE_CHECKING:
    from torch import Tensor

Task = Literal["text-to-image"]


@final
@dataclass(frozen=True)
class Family:
    """What one class of pipelines needs.

    Attributes:
        task: what it makes of what.
        latents: the side of the latents, or both sides, that a pipeline was trained for.
        multiple: what the height and width of its pictures must be multiples of.
        unscaled: latents `[B, ...]` as the VAE knows them, given those of the pipeline's call.
        largest: what they are at most, in pixels; None where nothing bounds them.
        settings: given to `from_pretrained`.
    """

    task: Task
    latents: Callable[[Any], int | list[int]]
    multiple: Callable[[Any], int]
    unscaled: Callable[[Any, Tensor, Protocol], Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    largest: Callable[[Any], int | None] = lambda pipe: None


def _unet_latents(pipe: Any) -> int | list[int]:
    side: int | list[int] = pipe.unet.config.sample_size
    return side


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
        latents=_unet_latents,
        multiple=_unet_multiple,
        unscaled=_divided,
        # The checker blackens what it takes for indecent, often wrongly. A black picture would be
        # scored like any other, and a failure is never a number. Whoever shows pictures to the
        # public checks them there.
        settings={"safety_checker": None, "requires_safety_checker": False},
    ),
    "StableDiffusionXLPipeline": Family(
        task="text-to-image",
        latents=_unet_latents,
        multiple=_unet_multiple,
        unscaled=_normalised,
        # By default pixels are watermarked where the package invisible-watermark is installed: the
        # same seed would give another picture on another machine.
        settings={"add_watermarker": False},
    ),
    "StableDiffusion3Pipeline": Family(
        task="text-to-image",
        latents=lambda pipe: pipe.default_sample_size,
        multiple=lambda pipe: pipe.vae_scale_factor * pipe.patch_size,
        unscaled=_shifted,
        # Its embedding of positions has so many places a side.
        largest=lambda pipe: (
            pipe.transformer.config.pos_embed_max_size * pipe.vae_scale_factor * pipe.patch_size
        ),
    ),
    "FluxPipeline": Family(
        task="text-to-image",
        latents=lambda pipe: pipe.default_sample_size,
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


def default_protocol(pipe: Any) -> Protocol:
    """A pipeline's own protocol: the defaults of its call, and the size it was trained for."""
    options = inspect.signature(type(pipe).__call__).parameters
    latents = FAMILIES[type(pipe).__name__].latents(pipe)
    height, width = (latents, latents) if isinstance(latents, int) else latents
    length = options.get("max_sequence_length")
    return Protocol(
        steps=options["num_inference_steps"].default,
        guidance=options["guidance_scale"].default,
        height=height * pipe.vae_scale_factor,
        width=width * pipe.vae_scale_factor,
        max_sequence_length=length.default if length else None,
    )


def check_protocol(pipe: Any, protocol: Protocol) -> None:
    """Refuse a protocol that a pipeline cannot keep, or would change in silence.

    Raises:
        UsageError: naming the option, and what is accepted.
    """
    name = type(pipe).__name__
    length = inspect.signature(type(pipe).__call__).parameters.get("max_sequence_length")
    if length is None and protocol.max_sequence_length is not None:
        raise UsageError(
            f"a {name} has no max_sequence_length, but the protocol gives "
            f"{protocol.max_sequence_length}. Leave it out"
        )
    if length is not None and protocol.max_sequence_length is None:
        raise UsageError(
            f"the protocol lacks max_sequence_length, which changes the pictures of a {name}. "
            f"Give it; diffusers' own default is {length.default}"
        )
    check_size(name, pipe, protocol.height, protocol.width)


def check_size(name: str, pipe: Any, height: int, width: int) -> None:
    """Refuse pictures of a size that a pipeline cannot make.

    Args:
        name: its class.
        pipe: the pipeline, or what has those of its attributes that the family reads.
        height: in pixels.
        width: in pixels.

    Raises:
        UsageError: naming the sizes that are accepted.
    """
    multiple, largest = FAMILIES[name].multiple(pipe), FAMILIES[name].largest(pipe)
    given = f"height {height} and width {width} were given"
    if height % multiple or width % multiple:
        raise UsageError(
            f"this {name} makes pictures whose height and width are multiples of {multiple}; "
            f"{given}"
        )
    if largest is not None and max(height, width) > largest:
        raise UsageError(
            f"this {name} makes pictures whose height and width are at most {largest}; {given}"
        )
