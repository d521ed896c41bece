"""The families of diffusers pipelines that can be sampled: what their call signature does not say.

A family is a class of pipelines. To add one, add its row to `FAMILIES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

from rewardkit.errors import UsageError
from rewardkit.generators import latents

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
        longest: the largest `max_sequence_length`, where the call has that argument.
        only_length: the one `max_sequence_length` with which the model works; None: any.
        uses_guidance: whether `guidance_scale` has an effect.
        unguided: classifier-free guidance is off at this scale and below.
        negative_prompt: the text that stands for no prompt where guidance needs one.
        frames: the number of frames must be a multiple of this, plus 1; None for pictures.
        fps: frames per second of a clip, where the call has no argument for it.
        references: the argument of the call for each reference of a request. One without a default
            is required.
    """

    task: Task
    size: Callable[[Any], tuple[int, int]]
    multiple: Callable[[Any], int]
    unscaled: Callable[[Any, Tensor, Protocol], Tensor]
    settings: Mapping[str, Any] = field(default_factory=dict)
    largest: Callable[[Any], int | None] = lambda pipe: None
    longest: int = 512
    only_length: Callable[[Any], int | None] = lambda pipe: None
    uses_guidance: Callable[[Any], bool] = lambda pipe: True
    unguided: float = 1.0
    negative_prompt: str = ""
    frames: Callable[[Any], int] | None = None
    fps: float | None = None
    references: Mapping[str, str] = field(default_factory=dict)


def _unet_size(pipe: Any) -> tuple[int, int]:
    side = pipe.unet.config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    return height * pipe.vae_scale_factor, width * pipe.vae_scale_factor


def _unet_multiple(pipe: Any) -> int:
    # These pipelines ask for a multiple of 8 whatever their VAE is, and round down to the VAE's.
    return math.lcm(8, pipe.vae_scale_factor)


def _transformer_size(pipe: Any) -> tuple[int, int]:
    side = pipe.default_sample_size * pipe.vae_scale_factor
    return side, side


def _packed_multiple(pipe: Any) -> int:
    # Latents are packed 2 x 2. Most pipelines themselves would round the size, with a warning.
    return int(pipe.vae_scale_factor * 2)


def _wan_multiple(pipe: Any) -> int:
    # A pipeline of two networks may lack the first, but not both.
    network = pipe.transformer or pipe.transformer_2
    return math.lcm(16, pipe.vae_scale_factor_spatial * network.config.patch_size[1])


_WAN: dict[str, Any] = {
    "size": lambda pipe: (480, 832),
    "multiple": _wan_multiple,
    "unscaled": latents.standardised,
    "frames": lambda pipe: pipe.vae_scale_factor_temporal,
    "fps": 16.0,  # of Wan 2.1 and of the large 2.2; the 5B of Wan 2.2 was trained for 24
}


def _wan_length(pipe: Any) -> int | None:
    # A network that is given what CLIP makes of the picture takes all but the last 512 tokens for
    # it: with fewer tokens of text, it attends to the picture as text.
    # Source: diffusers src/diffusers/models/transformers/transformer_wan.py: WanAttnProcessor.
    network = pipe.transformer or pipe.transformer_2
    return None if network.config.image_dim is None else 512


def _hunyuan_multiple(pipe: Any) -> int:
    return math.lcm(16, pipe.vae_scale_factor_spatial * pipe.transformer.config.patch_size)


_HUNYUAN: dict[str, Any] = {
    "multiple": _hunyuan_multiple,
    "unscaled": latents.divided,
    "uses_guidance": lambda pipe: pipe.transformer.config.guidance_embeds,
    "frames": lambda pipe: pipe.vae_scale_factor_temporal,
    "fps": 24.0,
}

FAMILIES = {
    "StableDiffusionPipeline": Family(
        task="text-to-image",
        size=_unet_size,
        multiple=_unet_multiple,
        unscaled=latents.divided,
        # The checker blackens what it takes for indecent, often wrongly. A black image would be
        # scored like any other, and a failure is never a number. Check images before you publish
        # them.
        settings={"safety_checker": None, "requires_safety_checker": False},
    ),
    "StableDiffusionXLPipeline": Family(
        task="text-to-image",
        size=_unet_size,
        multiple=_unet_multiple,
        unscaled=latents.normalised,
        # By default pixels are watermarked where the package invisible-watermark is installed: the
        # same seed would give another image on another machine.
        settings={"add_watermarker": False},
    ),
    "StableDiffusion3Pipeline": Family(
        task="text-to-image",
        size=_transformer_size,
        multiple=lambda pipe: pipe.vae_scale_factor * pipe.patch_size,
        unscaled=latents.shifted,
        # Its positional embedding has a largest side.
        largest=lambda pipe: (
            pipe.transformer.config.pos_embed_max_size * pipe.vae_scale_factor * pipe.patch_size
        ),
    ),
    "FluxPipeline": Family(
        task="text-to-image",
        size=_transformer_size,
        multiple=_packed_multiple,
        unscaled=latents.unpacked_and_shifted,
    ),
    "Flux2KleinPipeline": Family(
        task="text-to-image",
        size=_transformer_size,
        multiple=_packed_multiple,
        unscaled=latents.unchanged,
        uses_guidance=lambda pipe: not pipe.config.is_distilled,
        references={"source": "image"},
    ),
    "QwenImagePipeline": Family(
        task="text-to-image",
        size=_transformer_size,
        multiple=_packed_multiple,
        unscaled=latents.unpacked_and_standardised,
        longest=1024,
        uses_guidance=lambda pipe: pipe.transformer.config.guidance_embeds,
        negative_prompt=" ",
    ),
    "ZImagePipeline": Family(
        task="text-to-image",
        size=lambda pipe: (1024, 1024),
        multiple=_packed_multiple,
        unscaled=latents.shifted,
        # Its formula adds the difference to the guided half: 4 here is 5 elsewhere, and 0 is off.
        unguided=0.0,
    ),
    "HunyuanVideoPipeline": Family(task="text-to-video", size=lambda pipe: (720, 1280), **_HUNYUAN),
    "HunyuanSkyreelsImageToVideoPipeline": Family(
        task="image-to-video",
        size=lambda pipe: (544, 960),
        references={"first_frame": "image"},
        **_HUNYUAN,
    ),
    "WanPipeline": Family(task="text-to-video", **_WAN),
    "WanImageToVideoPipeline": Family(
        task="image-to-video",
        **_WAN,
        only_length=_wan_length,
        references={"first_frame": "image"},
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
