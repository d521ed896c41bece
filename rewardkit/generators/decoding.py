"""From latents to pixels: the one place where pictures are decoded, in training and elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rewardkit.errors import RewardKitError
from rewardkit.generators.families import FAMILIES

if TYPE_CHECKING:
    import torch

    from rewardkit.generators.protocol import Protocol

_log = logging.getLogger(__name__)


def decode(pipe: Any, latents: torch.Tensor, protocol: Protocol) -> Iterator[torch.Tensor | None]:
    """The pictures of clean latents, uint8 `[3, H, W]` on the CPU: the pixels of a saved PNG.

    Each is decoded alone, so that it does not depend on its batch; in the VAE's dtype, whatever
    autocast surrounds the call; and in tiles from the first picture on that memory does not hold.

    Args:
        pipe: a diffusers pipeline of one of the families.
        latents: `[B, ...]`, as the pipeline's call returns them for `output_type="latent"`.
        protocol: the height and width of the pictures.

    Yields:
        A picture; None where it is not finite.

    Raises:
        RewardKitError: memory does not suffice for one picture, even in tiles.
    """
    import torch

    unscaled = FAMILIES[type(pipe).__name__].unscaled
    for place in range(len(latents)):
        one = latents[place : place + 1]
        with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
            # The dtype is that of `load` and of a policy: float32, even where networks are not.
            scaled = unscaled(pipe, one.float(), protocol).to(pipe.vae.dtype)
            pixels = _pixels(pipe.vae, scaled)
            finite = pixels.isfinite().all()
            picture = pipe.image_processor.postprocess(pixels.float(), output_type="pt")[0]
            picture = picture.mul(255).round().to(torch.uint8).cpu()
        yield picture if finite else None


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
            "not enough memory to decode a picture at once: from here on pictures are "
            "decoded in overlapping tiles, whose seams are blended"
        )
        vae.enable_tiling()
        try:
            pixels = vae.decode(latents, return_dict=False)[0]
            return pixels
        except torch.OutOfMemoryError:
            pass
    raise RewardKitError(
        "not enough memory to decode one picture. Make smaller pictures (height, width), or "
        "free memory on the device"
    )
