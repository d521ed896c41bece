"""Renders the media of golden files from recipes, so that no picture has to be stored.

A recipe is a few numbers: `{"kind": "picture", "seed": 3, "size": [48, 64]}`. What it renders is a
sum of plane waves: smooth, coloured, and different enough between seeds for scores to differ. Waves
are known between pixels too, so a clip can move by any fraction of a pixel without resampling.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pictures import SHAPES as SIZES

from rewardkit.media.batch import Clip, Medium

__all__ = ["SIZES", "clip", "picture", "render"]


def render(recipe: Mapping[str, Any]) -> Medium:
    """The medium of a recipe: the function its `kind` names, with the other keys as arguments."""
    arguments = {key: value for key, value in recipe.items() if key != "kind"}
    return {"picture": picture, "clip": clip}[recipe["kind"]](**arguments)


def picture(seed: int, size: tuple[int, int]) -> torch.Tensor:
    """A picture, uint8 `[3, H, W]`; `size` is height, width."""
    return torch.from_numpy(_waves(seed, size, 0.0, 0.0, 0.0))


def clip(
    seed: int,
    size: tuple[int, int],
    frames: int,
    fps: float = 8.0,
    velocity: tuple[float, float] = (0.0, 0.0),
    shake: float = 0.0,
    flicker: float = 0.0,
) -> Clip:
    """A clip of one picture that drifts.

    Args:
        seed: of the picture.
        size: height, width.
        frames: how many.
        fps: frames per second.
        velocity: pixels per frame to the right and down.
        shake: pixels by which odd frames are off to the right.
        flicker: 8-bit levels by which odd frames are brighter.
    """
    rendered = [
        _waves(seed, size, velocity[0] * t + shake * (t % 2), velocity[1] * t, flicker * (t % 2))
        for t in range(frames)
    ]
    return Clip(torch.from_numpy(np.stack(rendered)), fps)


def _waves(seed: int, size: tuple[int, int], dx: float, dy: float, brighter: float) -> Any:
    # NumPy promises that RandomState's stream never changes; that of default_rng may.
    random = np.random.RandomState(seed)
    shortest = 4 * 6 ** random.uniform()
    roughness = random.uniform()  # 1: as much swing in the finest waves as in the longest
    channels = []
    for _ in range(3):
        level, swing = random.uniform(64, 192), random.uniform(15, 60)
        wavelength = shortest * 16 ** random.uniform(size=24)
        angle, phase = random.uniform(0, 2 * np.pi, size=(2, 24))
        kx, ky = 2 * np.pi / wavelength * (np.cos(angle), np.sin(angle))
        amplitude = wavelength ** (1 - roughness)
        amplitude *= swing / np.sqrt((amplitude**2).sum() / 2)
        x = np.outer(kx, np.arange(size[1]) - dx) + phase[:, None]
        y = np.outer(np.arange(size[0]) - dy, ky)
        # cos(x + y), as two products of matrices
        wave = (np.cos(y) * amplitude) @ np.cos(x) - (np.sin(y) * amplitude) @ np.sin(x)
        channels.append(level + brighter + wave)
    return np.rint(np.clip(channels, 0, 255)).astype(np.uint8)
