"""Contact sheets: many pictures or frames of clips on one picture, each with its caption."""

from __future__ import annotations

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
        media: of any sizes; each is scaled, whole, to fit `width` x `width`. A clip is shown by its
            middle frame.
        captions: one per medium. Each line is cut to the width, with an ellipsis.
        columns: media in a row.
        width: of each medium, in pixels.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    if not media or len(media) != len(captions) or columns < 1:
        raise UsageError(
            "a contact sheet needs media, a caption for each and at least one column; given: "
            f"{len(media)} media, {len(captions)} captions, {columns} columns"
        )
    font = ImageFont.load_default(_TEXT_PX)
    texts = ["\n".join(_cut(line, font, width) for line in text.split("\n")) for text in captions]
    thumbs = [ImageOps.contain(to_pil(_still(medium)), (width, width)) for medium in media]
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
    top = _MARGIN
    for start, height in zip(starts, heights, strict=True):
        for column, i in enumerate(range(start, min(start + columns, len(thumbs)))):
            left = _MARGIN + column * (width + _MARGIN)
            sheet.paste(thumbs[i], (left, top))
            draw.multiline_text(
                (left, top + thumbs[i].height), texts[i], "black", font, spacing=_LINE_PX - _TEXT_PX
            )
        top += height + _MARGIN
    return sheet


def one_line(prompt: str) -> str:
    """A prompt as one line of a caption: its line breaks and other runs of blanks are one blank."""
    return " ".join(prompt.split())


def _still(medium: Medium) -> torch.Tensor:
    """The picture that shows a medium: of a clip, its middle frame."""
    return medium.frames[len(medium.frames) // 2] if isinstance(medium, Clip) else medium


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
