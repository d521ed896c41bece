"""One picture to degrade: a lake at dusk, rendered from a seed. Smooth sky, edges, fine texture.

Everything is painted at twice the size and averaged down, which smooths the edges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float64]  # [H, W]
Colour = tuple[float, float, float]

_HORIZON = 0.60  # of the height
_SHORE = 0.80


def render(width: int = 512, height: int = 384, seed: int = 0) -> NDArray[np.uint8]:
    """The scene as uint8 RGB `[H, W, 3]`; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    rows, columns = 2 * height, 2 * width
    # x and y run over the picture from the top left; y from 0 to 1, x in the same units.
    y, x = np.mgrid[0:rows, 0:columns] / rows
    aspect = width / height

    scene = _sky(x, y, aspect, rng)
    for depth, colour in enumerate([(0.50, 0.42, 0.56), (0.33, 0.29, 0.44), (0.17, 0.22, 0.27)]):
        ridge = _HORIZON - 0.11 + 0.045 * depth - (0.17 - 0.04 * depth) * _ridge(columns, rng)
        _paint(scene, (y > ridge) & (y < _HORIZON), colour)
    for at, size, colours in _BALLOONS:
        _balloon(scene, x, y, (at[0] * aspect, at[1]), size, colours)
    _lake(scene, x, y, rng)
    _meadow(scene, x, y, rng)

    exact = scene.reshape(height, 2, width, 2, 3).mean(axis=(1, 3))
    return np.asarray(np.rint(exact.clip(0, 1) * 255), np.uint8)


_BALLOONS: tuple[tuple[tuple[float, float], float, tuple[Colour, Colour]], ...] = (
    ((0.20, 0.26), 0.125, ((0.85, 0.12, 0.15), (0.98, 0.87, 0.60))),
    ((0.47, 0.15), 0.070, ((0.10, 0.45, 0.70), (0.95, 0.95, 0.90))),
    ((0.86, 0.36), 0.048, ((0.95, 0.62, 0.10), (0.45, 0.15, 0.50))),
)


def _sky(x: Plane, y: Plane, aspect: float, rng: np.random.Generator) -> NDArray[np.float64]:
    stops = np.array([0.0, 0.25, 0.45, _HORIZON])
    colours = np.array([(0.16, 0.25, 0.52), (0.42, 0.46, 0.70), (0.93, 0.62, 0.52), (1, 0.84, 0.5)])
    sky = np.stack([np.interp(y, stops, colours[:, c]) for c in range(3)], axis=-1)
    rows, columns = y.shape
    cloud = _noise(rows, columns, (7, 3), 6, rng)
    cover = np.clip((cloud - 0.48) * 4, 0, 1) * np.clip(1.15 - y / _HORIZON, 0, 1)
    _blend(sky, cover * 0.7, (1.0, 0.86, 0.80))
    distance = np.hypot(x - 0.66 * aspect, y - 0.36)
    _blend(sky, 0.8 * np.exp(-((distance / 0.16) ** 2)), (1.0, 0.90, 0.60))
    _paint(sky, distance < 0.052, (1.0, 0.97, 0.86))
    return sky


def _balloon(
    scene: NDArray[np.float64],
    x: Plane,
    y: Plane,
    at: tuple[float, float],
    size: float,
    colours: tuple[Colour, Colour],
) -> None:
    u, v = (x - at[0]) / size, (y - at[1]) / size
    # A circle drawn down into a point: narrower the further below its middle.
    half = np.sqrt(np.clip(1 - v**2, 0, 1)) * np.where(v > 0, 1 - 0.35 * v, 1)
    inside = (np.abs(u) < half) & (np.abs(v) < 1)
    across = np.arcsin(np.clip(u / np.maximum(half, 1e-6), -1, 1))  # where on the round surface
    shade = (0.62 + 0.38 * np.cos(across - 0.5))[..., None]
    stripe = (np.floor(across * 8 / np.pi) % 2 == 0)[..., None]
    painted = np.where(stripe, colours[0], colours[1]) * shade
    scene[inside] = painted[inside]
    ropes = (v > 0.85) & (v < 1.35) & (np.abs(np.abs(u) - 0.16) < 0.02)
    _paint(scene, ropes | ((v > 1.3) & (v < 1.55) & (np.abs(u) < 0.2)), (0.25, 0.16, 0.10))


def _lake(scene: NDArray[np.float64], x: Plane, y: Plane, rng: np.random.Generator) -> None:
    """Mirrors what is above the horizon, with ripples that grow towards the shore."""
    rows, columns = y.shape
    water = y >= _HORIZON
    near = np.clip((y - _HORIZON) / (_SHORE - _HORIZON), 0, 1)
    ripple = _noise(rows, columns, (90, 14), 2, rng) - 0.5
    shift = (ripple * (0.012 + 0.05 * near) * rows).astype(int)
    shore = int(_HORIZON * rows)
    row = np.clip(2 * shore - np.arange(rows)[:, None] + shift, 0, shore - 1)
    column = np.clip(np.arange(columns)[None, :] + shift // 3, 0, columns - 1)
    mirrored = scene[row, column] * (0.80 + 0.5 * ripple[..., None])
    mirrored[..., 2] += 0.05
    scene[water] = mirrored[water]


def _meadow(scene: NDArray[np.float64], x: Plane, y: Plane, rng: np.random.Generator) -> None:
    """Grass in upright strokes and flowers in four colours: the finest detail of the picture."""
    rows, columns = y.shape
    edge = _SHORE + 0.05 * (_ridge(columns, rng) - 0.5)
    land = y > edge
    near = np.clip((y - _SHORE) / (1 - _SHORE), 0, 1)
    blades = 0.6 * _noise(rows, columns, (40, 420), 2, rng) + 0.4 * rng.random((rows, columns))
    light = (0.35 + 0.75 * blades) * (0.55 + 0.45 * near)
    grass = light[..., None] * np.array((0.42, 0.55, 0.20))
    scene[land] = grass[land]
    for colour in ((0.95, 0.25, 0.30), (0.98, 0.80, 0.20), (0.95, 0.92, 0.95), (0.62, 0.35, 0.80)):
        for _ in range(45):
            fx, fy = rng.random() * columns / rows, _SHORE + 0.03 + 0.17 * rng.random()
            size = 0.003 + 0.008 * (fy - _SHORE) / (1 - _SHORE)
            # Only the pixels around the flower: 180 passes over the whole picture take seconds.
            top, left = int((fy - size) * rows), int(max(fx - size, 0) * rows)
            span = int(2 * size * rows) + 2
            box = (slice(top, top + span), slice(left, left + span))
            petals = size * (0.75 + 0.25 * np.cos(5 * np.arctan2(y[box] - fy, x[box] - fx)))
            distance = np.hypot(x[box] - fx, y[box] - fy)
            _paint(scene[box], distance < petals, colour)
            _paint(scene[box], distance < 0.3 * size, (0.55, 0.35, 0.10))


def _noise(
    rows: int, columns: int, cells: tuple[int, int], octaves: int, rng: np.random.Generator
) -> Plane:
    """Smooth noise in 0..1: octaves of random grids, each twice as fine and half as strong."""
    total: Plane = np.zeros((rows, columns))
    for octave in range(octaves):
        grid = rng.random((cells[0] << octave, cells[1] << octave)).astype(np.float32)
        fine = Image.fromarray(grid).resize((columns, rows), Image.Resampling.BICUBIC)
        total += np.asarray(fine) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low)


def _ridge(columns: int, rng: np.random.Generator) -> Plane:
    """The outline of hills `[1, W]`, in 0..1."""
    return _noise(1, columns, (1, 4), 7, rng)


def _paint(scene: NDArray[np.float64], where: NDArray[np.bool_], colour: Colour) -> None:
    scene[where] = colour


def _blend(scene: NDArray[np.float64], weight: Plane, colour: Colour) -> None:
    scene += weight[..., None] * (np.array(colour) - scene)
