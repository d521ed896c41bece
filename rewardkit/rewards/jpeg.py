"""The size of an image saved as JPEG, as little or as much as possible: two rewards of DDPO.

Black et al. 2023, https://arxiv.org/abs/2305.13301; upstream kvablack/ddpo-pytorch
`ddpo_pytorch/rewards.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.card import RewardCard
from rewardkit.engine.registry import register
from rewardkit.engine.reward import MeasuredReward
from rewardkit.errors import InputError
from rewardkit.media.batch import Clip, Medium

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUALITY = 95
MAX_SIDE = 65_500  # libjpeg's JPEG_MAX_DIMENSION


def jpeg_kilobytes(picture: NDArray[np.uint8]) -> float:
    """Size of `picture` `[H, W, 3]` as a JPEG of quality 95, in units of 1000 bytes.

    Everything but the quality is Pillow's default: chroma at half resolution both ways (4:2:0),
    standard Huffman tables, no metadata.

    Raises:
        InputError: a side is longer than a JPEG can hold.
    """
    import io

    from PIL import Image

    height, width = picture.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise InputError(
            f"a JPEG has at most {MAX_SIDE} pixels on a side; this image is {width}x{height}: "
            "crop or resize it"
        )
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=QUALITY)
    return file.tell() / 1000


def _card(name: str, summary: str, span: tuple[float | None, float | None]) -> RewardCard:
    return RewardCard(
        name=name,
        summary=summary,
        inputs=("image",),
        unit="kB",
        range=span,
        licence_code="MIT",
        paper="https://arxiv.org/abs/2305.13301",
        upstream="https://github.com/kvablack/ddpo-pytorch/blob/"
        "1958463f020112c9a7bc85768d296daacc2e1b4b/ddpo_pytorch/rewards.py",
        notes=(
            "1 kB is 1000 bytes; quality 95, Pillow's other defaults (chroma 4:2:0).",
            "The size grows with the number of pixels: compare images of one resolution.",
            "The bytes are those of the JPEG library that Pillow was built with.",
        ),
    )


_SIGN = {"jpeg-compressibility": -1.0, "jpeg-incompressibility": 1.0}


@register(
    _card(
        "jpeg-compressibility",
        "The image is small as a JPEG: smooth and plain (minus its size).",
        (None, 0.0),
    ),
    _card(
        "jpeg-incompressibility",
        "The image is large as a JPEG: detailed, or noisy (its size).",
        (0.0, None),
    ),
)
class JpegSize(MeasuredReward):
    """The size as a JPEG, with the sign that the card's name asks for."""

    def measure(self, medium: Medium) -> float:
        """Plus or minus `jpeg_kilobytes`."""
        assert not isinstance(medium, Clip)
        return _SIGN[self.card.name] * jpeg_kilobytes(medium.permute(1, 2, 0).numpy(force=True))
