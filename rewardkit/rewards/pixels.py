"""Classical statistics of an image's pixels: sharpness, colourfulness, contrast, exposure.

They judge the signal, not the content: each is easy to push up without a better image, which
makes them good tests of a training run and poor goals for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.card import RewardCard
from rewardkit.engine.registry import register
from rewardkit.engine.reward import MeasuredReward
from rewardkit.media.batch import Clip, Medium

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 luma of `picture` `[H, W, 3]`: 0.299 R + 0.587 G + 0.114 B as an 8-bit level."""
    import cv2
    import numpy as np

    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def sharpness(picture: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the grey image, in squared 8-bit levels.

    The kernel is the 4-neighbour one, (0 1 0; 1 -4 1; 0 1 0); pixels beyond the border mirror
    those within it, without repeating the border itself. The same number as OpenCV's
    `cv2.Laplacian(grey, cv2.CV_64F).var()`.

    Source: Pech-Pacheco et al. 2000, https://doi.org/10.1109/ICPR.2000.903548.
    """
    import cv2

    return float(cv2.Laplacian(grey(picture), cv2.CV_64F, ksize=1).var())


def colorfulness(picture: NDArray[np.uint8]) -> float:
    """The metric M(3): sqrt(std(rg)^2 + std(yb)^2) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2).

    rg = R - G and yb = (R + G) / 2 - B of sRGB levels in 0..255, both signed.

    Source: Hasler and Süsstrunk 2003, https://doi.org/10.1117/12.477378.
    """
    import numpy as np

    red, green, blue = np.moveaxis(picture.astype(np.float32), -1, 0)
    rg = red - green
    yb = (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def contrast(picture: NDArray[np.uint8]) -> float:
    """RMS contrast: the standard deviation of the grey image, its levels scaled to 0..1.

    Source: Peli 1990, https://doi.org/10.1364/JOSAA.7.002032.
    """
    return float(grey(picture).std() / 255)


def exposure(picture: NDArray[np.uint8]) -> float:
    """Well-exposedness: mean over pixels of the product over channels of exp(-(i - 0.5)^2 / 2s^2).

    i is a channel's level scaled to 0..1, s = 0.2.

    Source: Mertens, Kautz, Van Reeth 2007, https://doi.org/10.1109/PG.2007.17.
    """
    import numpy as np

    level = np.arange(256, dtype=np.float32) / 255
    well_exposed = np.exp(-((level - 0.5) ** 2) / (2 * 0.2**2))
    return float(well_exposed[picture].prod(axis=-1).mean())


_FORMULAS = {
    "sharpness": sharpness,
    "colorfulness": colorfulness,
    "contrast": contrast,
    "exposure": exposure,
}


@register(
    RewardCard(
        name="sharpness",
        summary="The image has more fine detail, or more noise (variance of the Laplacian).",
        inputs=("image",),
        unit="squared 8-bit levels",
        range=(0.0, 1_040_400.0),  # (4 * 255)^2: a chessboard of single black and white pixels
        paper="https://doi.org/10.1109/ICPR.2000.903548",
        notes=(
            "Kernel (0 1 0; 1 -4 1; 0 1 0) on 8-bit BT.601 grey, mirrored borders: equal to "
            "OpenCV's cv2.Laplacian(grey, cv2.CV_64F).var().",
            "It depends on the resolution and on any earlier resize: compare images of one "
            "resolution.",
            "Noise, oversharpening and JPEG blocks raise it as detail does.",
        ),
    ),
    RewardCard(
        name="colorfulness",
        summary="The colours are more saturated and more varied (Hasler and Süsstrunk's M3).",
        inputs=("image",),
        unit="8-bit levels",
        # sqrt(1 + 0.3^2) * |(rg, yb)| of pure red, the farthest a colour is from grey.
        range=(0.0, 297.66),
        typical=(0.0, 109.0),
        paper="https://doi.org/10.1117/12.477378",
        notes=(
            "The paper's scale, from ratings of natural images, which is the typical range: 0 not, "
            "15 slightly, 33 moderately, 45 averagely, 59 quite, 82 highly, 109 extremely "
            "colourful.",
            "rg and yb are signed as in the paper; widely copied code takes |R - G| and "
            "|(R + G) / 2 - B|, and gives other numbers.",
            "An image of one saturated colour scores too, by the mean term; grey scores 0.",
        ),
    ),
    RewardCard(
        name="contrast",
        summary="Light and dark lie farther apart (standard deviation of luma, RMS contrast).",
        inputs=("image",),
        unit="standard deviation of luma in 0..1",
        range=(0.0, 0.5),
        paper="https://doi.org/10.1364/JOSAA.7.002032",
        notes=(
            "8-bit BT.601 grey divided by 255; gamma-encoded luma, not linear light.",
            "The maximum is an image half black and half white.",
            "It ignores the positions of levels: shuffling the pixels changes nothing.",
        ),
    ),
    RewardCard(
        name="exposure",
        summary="More pixels are near mid-grey in every channel: neither crushed nor blown out.",
        inputs=("image",),
        unit="mean weight",
        range=(0.0, 1.0),
        paper="https://doi.org/10.1109/PG.2007.17",
        notes=(
            "Mertens et al.'s well-exposedness weight, sigma 0.2, averaged over the image.",
            "Best for flat mid-grey: saturated colours and strong contrast lower it.",
        ),
    ),
)
class PixelStatistic(MeasuredReward):
    """The function of this module that the card is named after."""

    def measure(self, medium: Medium) -> float:
        """The value of that function for one image."""
        assert not isinstance(medium, Clip)
        return _FORMULAS[self.card.name](medium.permute(1, 2, 0).numpy(force=True))
