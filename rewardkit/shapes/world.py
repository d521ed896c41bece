"""Scenes and their images: one to four coloured shapes on a 4x4 grid of cells, 32x32 pixels.

A cell is 8 pixels wide and a shape 7, and no two shapes of a scene touch, not even at a corner.
The masks are easy to distinguish: no two overlap by more than two thirds (IoU).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SIZE = 32
LATTICE = 4
CELL = SIZE // LATTICE

BACKGROUND = (24, 26, 32)
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (230, 50, 50),
    "green": (50, 190, 80),
    "blue": (60, 100, 240),
    "yellow": (240, 210, 60),
    "purple": (200, 60, 200),
    "white": (240, 240, 240),
}
_DRAWN = {
    "square": "####### ####### ####### ####### ####### ####### #######",
    "triangle": "...#... ...#... ..###.. ..###.. .#####. .#####. #######",
    "cross": "..###.. ..###.. ####### ####### ####### ..###.. ..###..",
    "ring": "..###.. .#####. ##...## ##...## ##...## .#####. ..###..",
}
MASKS: dict[str, np.ndarray] = {
    shape: np.array([[mark == "#" for mark in row] for row in rows.split()])
    for shape, rows in _DRAWN.items()
}
SHAPES = tuple(MASKS)


@dataclass(frozen=True)
class Thing:
    """A coloured shape in one cell of the grid.

    Attributes:
        shape: one of SHAPES.
        colour: one of COLOURS.
        row: row of the cell, 0 at the top.
        column: column of the cell, 0 at the left.
    """

    shape: str
    colour: str
    row: int
    column: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Pixels `(x1, y1, x2, y2)`; x2 and y2 are exclusive."""
        height, width = MASKS[self.shape].shape
        x, y = self.column * CELL, self.row * CELL
        return x, y, x + width, y + height


def render(scenes: Sequence[Sequence[Thing]]) -> np.ndarray:
    """Images of scenes, uint8 `[len(scenes), 3, 32, 32]`."""
    pictures = np.empty((len(scenes), 3, SIZE, SIZE), np.uint8)
    pictures[:] = np.array(BACKGROUND, np.uint8)[:, None, None]
    for picture, scene in zip(pictures, scenes, strict=True):
        for thing in scene:
            x1, y1, x2, y2 = thing.box
            picture[:, y1:y2, x1:x2][:, MASKS[thing.shape]] = np.array(
                COLOURS[thing.colour], np.uint8
            )[:, None]
    return pictures


def places(number: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """`number` cells `(row, column)` in random order; no two are adjacent, not even diagonally."""
    while True:
        chosen: list[tuple[int, int]] = []
        for cell in rng.permutation(LATTICE * LATTICE):
            row, column = divmod(int(cell), LATTICE)
            if all(max(abs(row - r), abs(column - c)) > 1 for r, c in chosen):
                chosen.append((row, column))
            if len(chosen) == number:
                return chosen
