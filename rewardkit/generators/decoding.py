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

    kind = kind_of(FAMILIES[type(pipe).__name__].task)
    for place in range(len(latents)):
        with torch.no_grad():
            output = _output(pipe, latents[place : place + 1], protocol)
            finite = output.isfinite().all()
            levels = _VALUES[kind](pipe, output).mul(255).round().to(torch.uint8).cpu()
        if not finite:
            yield None
        elif kind == "video":
            assert protocol.fps is not None  # `check_protocol` asks for it
            yield Clip(levels, protocol.fps)
        else:
            yield levels


def differentiable_pixels(pipe: Any, latents: torch.Tensor, protocol: Protocol) -> torch.Tensor:
    """The pixels of the media of `decode` before they are rounded, with a gradient to the latents.

    Args:
        pipe: see `decode`.
        latents: see `decode`.
        protocol: see `decode`.

    Returns:
        `[B, 3, H, W]` of images, `[B, F, 3, H, W]` of clips, float32 in 0..1, on the device.

    Raises:
        RewardKitError: see `decode`.
    """
    import torch

    values = _VALUES[kind_of(FAMILIES[type(pipe).__name__].task)]
    outputs = (_output(pipe, latents[i : i + 1], protocol) for i in range(len(latents)))
    return torch.stack([values(pipe, output) for output in outputs])


def _output(pipe: Any, latents: torch.Tensor, protocol: Protocol) -> torch.Tensor:
    """What the VAE makes of the latents of one sample, `[1, ...]`, float32."""
    import torch

    family = FAMILIES[type(pipe).__name__]
    with torch.autocast(latents.device.type, enabled=False):
        # The dtype is that of `load` and of a policy: float32, even where networks are not.
        scaled = family.unscaled(pipe, latents.float(), protocol).to(pipe.vae.dtype)
        return _decoded(pipe.vae, scaled).float()


def _picture(pipe: Any, output: torch.Tensor) -> torch.Tensor:
    if output.ndim == 5:  # a video's VAE makes a clip of one frame
        output = output[:, :, 0]
    pixels: torch.Tensor = pipe.image_processor.postprocess(output, output_type="pt")[0]
    return pixels


def _clip(pipe: Any, output: torch.Tensor) -> torch.Tensor:
    frames: torch.Tensor = pipe.video_processor.postprocess_video(output, output_type="pt")[0]
    return frames


# Pixels of one medium in 0..1, `[3, H, W]` or `[F, 3, H, W]`, from the VAE's output.
_VALUES: dict[Kind, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "image": _picture,
    "video": _clip,
}


def _decoded(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """The VAE's output of one sample; in tiles, from then on, where memory does not suffice."""
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
