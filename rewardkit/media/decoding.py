"""Frames of clips: any video libav decodes, and animated pictures, as uint8 RGB with their rate.

The rate is measured on the frames' own timestamps, because containers round it and a variable frame
rate has no single one. Pixels are libav's conversion to RGB, by the stream's own colour tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rewardkit.errors import InputError
from rewardkit.media.animations import is_animation, read_animation
from rewardkit.media.files import open_file, quoted
from rewardkit.media.sampling import check_choice, sample_count, sample_indices

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from rewardkit.media.libav import StreamInfo

#: The most memory the chosen frames of one clip may take: 2 GiB, 11 s of 1080p at 30 fps.
MAX_CLIP_BYTES = 2 * 1024**3

#: The extensions a folder is searched for. GIF is not among them: in a folder it is a picture.
CLIP_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg"})


class DecodedClip(NamedTuple):
    """The attributes of a `Clip`, read from a file."""

    frames: torch.Tensor
    fps: float
    stated_fps: float | None
    repeats: bool


def decode_clip(
    path: str | Path,
    *,
    fps: float | None = None,
    frames: int | None = None,
    max_bytes: int = MAX_CLIP_BYTES,
) -> DecodedClip:
    """The frames in a file, as `read_clip` takes them.

    Raises:
        UsageError: as for `read_clip`.
        InputError: as for `read_clip`.
    """
    import torch

    check_choice(fps, frames)
    every = fps is None and frames is None
    stated = None
    with open_file(path) as stream:
        animated = is_animation(stream.read(12))
    if animated:
        rgb, times = read_animation(path, max_bytes=max_bytes)
        rate = (len(times) - 1) / times[-1]
        _, height, width, _ = rgb.shape
        _check_size(path, sample_count(times, fps, frames), width, height, max_bytes)
        chosen = sample_indices(times, fps, frames)
        rgb = rgb[chosen]
    else:
        rgb, times, contents = _read_video(path, fps, frames, max_bytes)
        chosen = sample_indices(times, fps, frames)
        rate, stated = contents.rate, contents.average_rate if every else None
    span = times[chosen[-1]] - times[chosen[0]]
    if fps is None:
        fps = (len(chosen) - 1) / span if span > 0 else rate
    pixels = torch.from_numpy(rgb).permute(0, 3, 1, 2)
    return DecodedClip(pixels, fps, stated, len(set(chosen)) < len(chosen))


def _read_video(
    path: str | Path, fps: float | None, frames: int | None, max_bytes: int
) -> tuple[NDArray[np.uint8], list[float], StreamInfo]:
    """The chosen frames `[F, H, W, 3]`, the times of all frames, and what the packets say."""
    from rewardkit.media import libav

    contents = libav.scan(path)

    def check(times: Sequence[float]) -> None:
        count = sample_count(times, fps, frames)
        _check_size(path, count, contents.width, contents.height, max_bytes)

    def choose(times: Sequence[float]) -> list[int]:
        check(times)  # again: the decoder may find other times than the packets say
        return sample_indices(times, fps, frames)

    check(contents.times)
    rgb, times = libav.decode(path, contents, choose)
    return rgb, times, contents


def _check_size(path: str | Path, count: int, width: int, height: int, max_bytes: int) -> None:
    size = count * height * width * 3
    if size > max_bytes:
        raise InputError(
            f"{quoted(path)}: {count:,} frames of {width} x {height} take {size:,} bytes; accepted "
            f"are {max_bytes:,}. Take fewer frames: a number of them (--frames) or a lower rate "
            "(--fps)"
        )
