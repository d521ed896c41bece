"""Objects to be cut out of pictures, made from seeds, and what GenEval makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from golden.cases import FOLDER
from golden.clip import media
from pydantic import BaseModel, ConfigDict

_FILE = FOLDER / "geneval" / "colours.json"
# Corners, as shares of the picture's size and pixels to add: halves round to even, and the last two
# boxes reach over the edges.
_CORNERS = [
    ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0)),
    ((0.1, 0.2, 0.9, 0.8), (0.0, 0.0, 0.0, 0.0)),
    ((0.0, 0.0, 0.0, 0.0), (3.5, 4.5, 20.5, 25.5)),
    ((0.0, 0.0, 1.0, 0.0), (2.5, 1.5, -2.5, 9.5)),
    ((0.5, 0.5, 0.5, 0.5), (0.4, 0.6, 13.4, 15.6)),
    ((0.5, 0.5, 1.0, 1.0), (0.0, 0.0, 7.0, 3.0)),
    ((0.0, 0.0, 0.7, 0.7), (-5.0, -2.5, 0.0, 0.0)),
]
_NAMES = ("cup", "traffic light", "computer mouse", "sheep")


@dataclass(frozen=True)
class Cutout:
    """An object of class `name` in one of the twelve pictures."""

    picture: int
    name: str
    box: np.ndarray  # float32 [5]
    mask: np.ndarray  # bool [H, W]


class Colours(BaseModel):
    """The golden file: of each of `cutouts`, what upstream gave.

    Attributes:
        upstream: repository@commit.
        command: run from this repository's root, writes the file again.
        versions: of the libraries that can change a number.
        sizes: width and height of the crop.
        pixels: sha256 of its bytes, row by row.
        classifiers: of each class, of each colour, every 48th of 768 numbers.
        cosines: of the crop and each colour.
        names: the colour.
    """

    model_config = ConfigDict(extra="forbid")

    upstream: str
    command: str
    versions: dict[str, str]
    sizes: list[tuple[int, int]]
    pixels: list[str]
    classifiers: dict[str, list[list[float]]]
    cosines: list[list[float]]
    names: list[str]

    def write(self) -> None:
        """Write the file."""
        _FILE.write_text(self.model_dump_json(indent=None) + "\n", encoding="utf-8")


def load() -> Colours:
    """The golden file."""
    return Colours.model_validate_json(_FILE.read_bytes())


def picture_of(cutout: Cutout) -> torch.Tensor:
    """Its picture, uint8 `[3, H, W]`."""
    return media()[cutout.picture]


def cutouts() -> Iterator[Cutout]:
    """Two of each picture; each mask is an ellipse in its box, less some grain."""
    for seed in range(24):
        rng = np.random.RandomState(seed)
        height, width = media()[seed % 12].shape[1:]
        shares, pixels = _CORNERS[seed % len(_CORNERS)]
        corners = np.array(shares) * [width, height, width, height] + pixels
        (left, top), (right, bottom) = corners.reshape(2, 2)
        y, x = np.mgrid[:height, :width]
        along = (2 * x - left - right) / (right - left), (2 * y - top - bottom) / (bottom - top)
        mask = (along[0] ** 2 + along[1] ** 2 < 1) & (rng.rand(height, width) < 0.9)
        box = np.array([*corners, 0.95], np.float32)
        yield Cutout(seed % 12, _NAMES[seed % len(_NAMES)], box, mask)
