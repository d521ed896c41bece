"""Contact sheets: many pictures or frames of clips on one picture, each with its caption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rewardkit.errors import UsageError
from rewardkit.media.batch import Clip
from rewardkit.media.images import to_pil

if TYPE_CHECKING:
    import torch
    from PIL import Image, ImageFont

    from rewardkit.media.batch import Medium

_MARGIN = 12
_SHOWN = 4  # frames of a clip
_TEXT_PX, _LINE_PX = 15, 20  # font size, and from one line to the next


def contact_sheet(
    media: Sequence[Medium],
    captions: Sequence[str],
    *,
    columns: int = 5,
    width: int = 200,
) -> Image.Image:
    """Media in rows, as a `PIL.Image`, each above its caption.

    Args:
        media: of any sizes; each is scaled, whole, to fit `width` x `width`. A clip is shown by
            four of its frames, from the first to the last, in two rows.
        captions: one per medium. Each line is cut to the width, with an ellipsis.
        columns: media in a row.
        width: of each medium, in pixels.
    """
    thumbs = [_thumb(_still(medium), width) for medium in media]
    sheet, places = _empty(thumbs, captions, columns, width)
    for thumb, place in zip(thumbs, places, strict=True):
        sheet.paste(thumb, place)
    return sheet


def playing_sheet(
    media: Sequence[Medium],
    captions: Sequence[str],
    *,
    columns: int = 5,
    width: int = 200,
) -> Clip:
    """A contact sheet on which clips play, as long as the longest; pictures stand still.

    Clips that are over show their last frame. The rate is the highest of theirs. Height and width
    are even, so that every player shows the file.

    Args:
        media: as for `contact_sheet`; at least one is a clip.
        captions: as for `contact_sheet`.
        columns: media in a row.
        width: of each medium, in pixels.
    """
    import numpy as np
    import torch

    clips = [medium for medium in media if isinstance(medium, Clip)]
    if not clips:
        raise UsageError("a playing sheet needs a clip, and only pictures were given")
    fps = max(clip.fps for clip in clips)
    count = max(math.ceil(len(clip.frames) * fps / clip.fps) for clip in clips)
    thumbs = [_thumb(_at(medium, 0.0), width) for medium in media]
    sheet, places = _empty(thumbs, captions, columns, width)
    even = (sheet.width + sheet.width % 2, sheet.height + sheet.height % 2)
    frames = np.full((count, even[1], even[0], 3), 255, np.uint8)
    for number in range(count):
        for medium, place in zip(media, places, strict=True):
            sheet.paste(_thumb(_at(medium, number / fps), width), place)
        frames[number, : sheet.height, : sheet.width] = np.asarray(sheet)
    return Clip(torch.from_numpy(frames).permute(0, 3, 1, 2), fps)


def _empty(
    thumbs: Sequence[Image.Image], captions: Sequence[str], columns: int, width: int
) -> tuple[Image.Image, list[tuple[int, int]]]:
    """A sheet with its captions, and the left upper corner of each medium on it."""
    from PIL import Image, ImageDraw, ImageFont

    if not thumbs or len(thumbs) != len(captions) or columns < 1:
        raise UsageError(
            "a contact sheet needs media, a caption for each and at least one column; given: "
            f"{len(thumbs)} media, {len(captions)} captions, {columns} columns"
        )
    font = ImageFont.load_default(_TEXT_PX)
    texts = ["\n".join(_cut(line, font, width) for line in text.split("\n")) for text in captions]
    starts = range(0, len(thumbs), columns)
    heights = [
        max(thumb.height for thumb in thumbs[i : i + columns])
        + max(_LINE_PX * (text.count("\n") + 1) for text in texts[i : i + columns])
        for i in starts
    ]
    across = min(columns, len(thumbs))
    size = (across * (width + _MARGIN) + _MARGIN, sum(heights) + _MARGIN * (len(heights) + 1))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    places = []
    top = _MARGIN
    for start, height in zip(starts, heights, strict=True):
        for column, i in enumerate(range(start, min(start + columns, len(thumbs)))):
            left = _MARGIN + column * (width + _MARGIN)
            places.append((left, top))
            below = (left, top + thumbs[i].height)
            draw.multiline_text(below, texts[i], "black", font, spacing=_LINE_PX - _TEXT_PX)
        top += height + _MARGIN
    return sheet, places


def one_line(prompt: str) -> str:
    """A prompt as one line of a caption: its line breaks and other runs of blanks are one blank."""
    return " ".join(prompt.split())


def _thumb(picture: torch.Tensor, width: int) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.contain(to_pil(picture), (width, width))


def _still(medium: Medium) -> torch.Tensor:
    """The picture that shows a medium: of a clip, four of its frames, or what fewer it has."""
    import torch

    if not isinstance(medium, Clip):
        return medium
    count = len(medium.frames)
    if count < _SHOWN:
        return torch.cat(list(medium.frames), dim=2)
    first, second, third, last = (
        medium.frames[round(i * (count - 1) / (_SHOWN - 1))] for i in range(_SHOWN)
    )
    return torch.cat([torch.cat([first, second], 2), torch.cat([third, last], 2)], 1)


def _at(medium: Medium, seconds: float) -> torch.Tensor:
    """What a medium shows at a time; after its end, its last frame."""
    if not isinstance(medium, Clip):
        return medium
    # A time that rounding put just before a frame's is the frame's.
    number = math.floor(seconds * medium.fps + 1e-6)
    return medium.frames[min(number, len(medium.frames) - 1)]


def _cut(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """As much of a line as fits, ending in an ellipsis where something is left out."""
    # Measured are only a few characters more than could fit, whatever the length of the line.
    most = line[: width + 1]
    if most == line and font.getlength(line) <= width:
        return line
    kept = len(most)
    while kept and font.getlength(line[:kept] + "…") > width:
        kept -= 1
    return line[:kept] + "…"
