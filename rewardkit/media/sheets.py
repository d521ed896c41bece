"""Contact sheets: many pictures on one, each with its caption, for readers of a demo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rewardkit.errors import UsageError
from rewardkit.media.images import to_pil

if TYPE_CHECKING:
    import torch
    from PIL import Image, ImageFont

_MARGIN = 12
_TEXT_PX, _LINE_PX = 15, 20  # font size, and from one line to the next


def contact_sheet(
    images: Sequence[torch.Tensor],
    captions: Sequence[str],
    *,
    columns: int = 5,
    width: int = 200,
) -> Image.Image:
    """Pictures in rows, as a `PIL.Image`, each above its caption.

    Args:
        images: uint8 `[3, H, W]` of any sizes; each is scaled, whole, to fit `width` x `width`.
        captions: one per picture. Each of its lines is cut to the width, with an ellipsis.
        columns: pictures in a row.
        width: of one picture, in pixels.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    if not images or len(images) != len(captions) or columns < 1:
        raise UsageError(
            "a contact sheet needs pictures, a caption for each and at least one column; given: "
            f"{len(images)} pictures, {len(captions)} captions, {columns} columns"
        )
    font = ImageFont.load_default(_TEXT_PX)
    texts = ["\n".join(_cut(line, font, width) for line in text.split("\n")) for text in captions]
    thumbs = [ImageOps.contain(to_pil(image), (width, width)) for image in images]
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
