"""An exact detector of the shapes in an image, with their colours and boxes.

It compares connected areas that differ from the background with the masks of the shapes. An area
that matches no mask well, or two masks equally well, is an unknown object: a hybrid of two shapes
is neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rewardkit.errors import InputError
from rewardkit.shapes.world import BACKGROUND, COLOURS, MASKS, SHAPES, SIZE

# Minimum distance of the foreground from the background colour, in levels of 255; the edges that a
# decoder blurs are closer.
_FOREGROUND = 70
# Smaller areas, in pixels, are specks and are ignored.
_SPECK = 4
# Minimum overlap (IoU) of an area with the mask of its shape; two masks overlap by at most 0.67.
_FITS = 0.75
# Minimum lead of the best mask over the second best: a hybrid of two shapes is neither.
_CLEARLY = 0.1
# Minimum share of an area's pixels nearest to one colour; below it, the area has no colour.
_ONE_COLOUR = 0.6

_PALETTE = np.array(list(COLOURS.values()), np.float32)
_WINDOW = 9  # a mask of 7 pixels with a margin of one pixel on each side
_SHIFTS = [(y, x) for y in range(3) for x in range(3)]


def _templates() -> np.ndarray:
    stack = np.zeros((len(SHAPES), len(_SHIFTS), _WINDOW, _WINDOW), np.float32)
    for of_shape, mask in zip(stack, MASKS.values(), strict=True):
        for template, (y, x) in zip(of_shape, _SHIFTS, strict=True):
            template[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return stack.reshape(len(SHAPES) * len(_SHIFTS), -1)


_TEMPLATES = _templates()
_AREAS = _TEMPLATES.sum(axis=1)


@dataclass(frozen=True)
class DetectedShape:
    """A detected object.

    Attributes:
        shape: one of SHAPES, or None if it matches none of them.
        colour: one of COLOURS, or None if it has several colours.
        box: pixels `(x1, y1, x2, y2)`; x2 and y2 are exclusive.
        score: overlap with the mask of the shape (IoU), in [0, 1].
    """

    shape: str | None
    colour: str | None
    box: tuple[int, int, int, int]
    score: float

    @property
    def centre(self) -> tuple[float, float]:
        """`(x, y)` in pixels."""
        x1, y1, x2, y2 = self.box
        return (x1 + x2) / 2, (y1 + y2) / 2


def detect(pictures: np.ndarray) -> list[list[DetectedShape]]:
    """The objects in each image of `pictures`, uint8 `[N, 3, 32, 32]`, from top to bottom.

    Raises:
        InputError: the images have another size or dtype.
    """
    from scipy import ndimage

    if pictures.ndim != 4 or pictures.shape[1:] != (3, SIZE, SIZE) or pictures.dtype != np.uint8:
        raise InputError(
            f"the shapes detector takes images of {SIZE}x{SIZE} pixels (uint8 [N, 3, {SIZE}, "
            f"{SIZE}]); {pictures.dtype} {list(pictures.shape)} was given. Generate images of that "
            "size: resizing changes what they show"
        )
    difference = np.abs(pictures.astype(np.int16) - np.array(BACKGROUND)[:, None, None])
    foreground = difference.max(axis=1) > _FOREGROUND
    # Areas are connected at sides and corners, within one image only.
    touching = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])
    labels, _ = ndimage.label(foreground, touching)
    found: list[list[DetectedShape]] = [[] for _ in pictures]
    for label, window in enumerate(ndimage.find_objects(labels), start=1):
        area = labels[window][0] == label
        if area.sum() < _SPECK:
            continue
        index, rows, columns = window[0].start, window[1], window[2]
        shape, score = _shape(area)
        colour = _colour(pictures[index, :, rows, columns][:, area].T)
        box = (columns.start, rows.start, columns.stop, rows.stop)
        found[index].append(DetectedShape(shape, colour, box, score))
    return found


def _shape(area: np.ndarray) -> tuple[str | None, float]:
    height, width = area.shape
    if max(height, width) > _WINDOW - 1:
        return None, 0.0
    window = np.zeros((_WINDOW, _WINDOW), np.float32)
    window[1 : 1 + height, 1 : 1 + width] = area
    shared = _TEMPLATES @ window.ravel()
    overlaps = shared / (_AREAS + area.sum() - shared)
    by_shape = overlaps.reshape(len(SHAPES), len(_SHIFTS)).max(axis=1)
    second, best = np.argsort(by_shape)[-2:]
    score = float(by_shape[best])
    fits = score >= _FITS and score - by_shape[second] >= _CLEARLY
    return (SHAPES[best] if fits else None), score


def _colour(pixels: np.ndarray) -> str | None:
    """The colour of most of the pixels `[n, 3]`; None if too few agree."""
    distances = np.linalg.norm(pixels[:, None].astype(np.float32) - _PALETTE, axis=2)
    counts = np.bincount(distances.argmin(axis=1), minlength=len(_PALETTE))
    best = int(counts.argmax())
    return list(COLOURS)[best] if counts[best] >= _ONE_COLOUR * len(pixels) else None
