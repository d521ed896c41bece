"""From latents to media: the one place where they are decoded, in training and elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rewardkit.errors import RewardKitError
from rewardkit.generators.families import FAMILIES
from rewardkit.media.batch import Clip
from rewardkit.media.task import kind_of

if TYPE_CHECKING:
    import torch

    from rewardkit.generators.protocol import Protocol
    from rewardkit.media.batch import Kind, Medium

_log = logging.getLogger(__name__)


def decode(pipe: Any, latents: torch.Tensor, protocol: Protocol) -> Iterator[Medium | None]:
    """The media of clean latents, on the CPU: uint8 `[3, H, W]` as a PNG has it, or clips.

    Each is decoded alone, so that it does not depend on its batch; in the VAE's dtype, whatever
    autocast surrounds the call; and in tiles from the first one on that memory does not hold.

    Args:
        pipe: a diffusers pipeline of one of the families.
        latents: `[B, ...]`, as the pipeline's call returns them for `output_type="latent"`.
        protocol: the height and width, and a clip's frames per second.

    Yields:
        A medium; None where it is not finite.

    Raises:
        RewardKitError: memory does not suffice for one medium, even in tiles.
    """
    import torch

    family = FAMILIES[type(pipe).__name__]
    medium_of = _MEDIA[kind_of(family.task)]
    for place in range(len(latents)):
        sample = latents[place : place + 1]
        with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
            # The dtype is that of `load` and of a policy: float32, even where networks are not.
            scaled = family.unscaled(pipe, sample.float(), protocol).to(pipe.vae.dtype)
            pixels = _pixels(pipe.vae, scaled)
            finite = pixels.isfinite().all()
            medium = medium_of(pipe, pixels.float(), protocol)
        yield medium if finite else None


def _picture(pipe: Any, pixels: torch.Tensor, protocol: Protocol) -> Medium:
    if pixels.ndim == 5:  # a video's VAE makes a clip of one frame
        pixels = pixels[:, :, 0]
    return _rounded(pipe.image_processor.postprocess(pixels, output_type="pt")[0])


def _clip(pipe: Any, pixels: torch.Tensor, protocol: Protocol) -> Medium:
    frames = pipe.video_processor.postprocess_video(pixels, output_type="pt")[0]
    assert protocol.fps is not None  # `check_protocol` asks for it
    return Clip(_rounded(frames), protocol.fps)


def _rounded(values: torch.Tensor) -> torch.Tensor:
    import torch

    return values.mul(255).round().to(torch.uint8).cpu()


_MEDIA: dict[Kind, Callable[[Any, torch.Tensor, Protocol], Medium]] = {
    "image": _picture,
    "video": _clip,
}


def _pixels(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """What the VAE makes of one sample; in tiles, from then on, where memory does not suffice."""
    import torch

    pixels: torch.Tensor
    try:
        pixels = vae.decode(latents, return_dict=False)[0]
        return pixels
    except torch.OutOfMemoryError:
        pass  # The retry is outside: in here, the failed frames would keep their memory.
    torch.cuda.empty_cache()
    if hasattr(vae, "enable_tiling") and not getattr(vae, "use_tiling", True):
        _log.warning(
            "not enough memory to decode a sample at once: from here on, samples are decoded in "
            "overlapping tiles, whose seams are blended"
        )
        vae.enable_tiling()
        try:
            pixels = vae.decode(latents, return_dict=False)[0]
            return pixels
        except torch.OutOfMemoryError:
            pass
    raise RewardKitError(
        "out of memory while decoding one sample. Choose a smaller height and width or fewer "
        "frames, or free memory on the device"
    )
