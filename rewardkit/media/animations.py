"""Animated pictures (GIF, WebP, APNG) as clips, read by Pillow.

Not by libav: it reads no animated WebP, shows the broken last frame of a GIF that was cut short,
and blends transparency into a background where pictures drop it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.errors import InputError, describe
from rewardkit.media.files import open_file, quoted
from rewardkit.media.images import decode_rgb, open_picture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A duration of 0 asks for "as fast as possible"; browsers show such frames for 100 ms.
_UNSTATED_MS = 100


def is_animation(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes or more is of a format read here."""
    return head.startswith((b"GIF8", b"\x89PNG")) or head[8:12] == b"WEBP"


def read_animation(path: str | Path, *, max_bytes: int) -> tuple[NDArray[np.uint8], list[float]]:
    """All frames of an animated picture, RGB `[F, H, W, 3]`, and when they begin, in seconds.

    Raises:
        InputError: it cannot be read, has one frame only, or its frames take over `max_bytes`.
    """
    import numpy as np
    from PIL import ImageSequence

    frames: list[NDArray[np.uint8]] = []
    times: list[float] = []
    clock = 0.0
    name = quoted(path)
    with open_file(path) as stream:
        try:
            for frame in ImageSequence.Iterator(open_picture(stream, name)):
                frames.append(np.array(decode_rgb(frame, name)))
                if frames[-1].shape != frames[0].shape:  # a GIF's later frames may enlarge it
                    raise InputError(f"{name} changes its frame size at frame {len(frames) - 1}")
                if len(frames) * frames[0].nbytes > max_bytes:
                    raise InputError(
                        f"{name} takes more than the {max_bytes:,} bytes accepted for a clip. "
                        "Convert it to mp4, of which single frames can be taken"
                    )
                times.append(clock / 1000)
                clock += frame.info.get("duration") or _UNSTATED_MS
        except InputError:
            raise
        except Exception as error:  # a decoder may raise anything on damaged data
            raise InputError(
                f"{name} is damaged after {len(frames)} frames: {describe(error)}"
            ) from error
    if len(frames) == 1:
        raise InputError(f"{name} is a single picture, not a clip. Score it with --input image")
    return np.stack(frames), times
