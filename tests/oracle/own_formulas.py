"""Golden files of rewards that have no upstream code: the formulas again, in NumPy and SciPy.

Nothing of rewardkit but the media type is used, and OpenCV only for the flow of motion-smoothness.
"""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import scipy
from golden.cases import Case, Golden
from golden.media import SIZES, render
from scipy.ndimage import convolve, map_coordinates


def luma(picture: np.ndarray) -> np.ndarray:
    return np.floor(picture @ [0.299, 0.587, 0.114] + 0.5)


def sharpness(picture: np.ndarray) -> float:
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    return convolve(luma(picture), kernel, mode="mirror").var()


def colorfulness(picture: np.ndarray) -> float:
    opponent = picture.reshape(-1, 3) @ np.array([[1, 0.5], [-1, 0.5], [0, -1]])
    spread = np.sqrt(np.trace(np.cov(opponent.T, ddof=0)))
    return spread + 0.3 * np.linalg.norm(opponent.mean(axis=0))


def contrast(picture: np.ndarray) -> float:
    levels = luma(picture) / 255
    return np.sqrt((levels**2).mean() - levels.mean() ** 2)


def exposure(picture: np.ndarray) -> float:
    squares = ((picture / 255 - 0.5) ** 2).sum(axis=-1)
    return np.exp(-squares / 0.08).mean()


def motion_smoothness(frames: np.ndarray) -> float:
    """Pixel by pixel and channel by channel, with exact interpolation."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(1 if min(frames.shape[1:3]) >= 64 else 0)
    errors = []
    for index in range(1, len(frames) - 1, 2):
        a, b = frames[index - 1], frames[index + 1]
        grey_a, grey_b = luma(a).astype(np.uint8), luma(b).astype(np.uint8)
        shift = (dis.calc(grey_a, grey_b, None) - dis.calc(grey_b, grey_a, None)) * 0.25
        rows, columns = np.indices(grey_a.shape)
        for channel in range(3):
            warped = [
                map_coordinates(
                    frame[..., channel].astype(float),
                    [rows + sign * shift[..., 1], columns + sign * shift[..., 0]],
                    order=1,
                    mode="nearest",
                )
                for frame, sign in ((a, -1), (b, 1))
            ]
            errors.append(np.abs(np.mean(warped, axis=0) - frames[index][..., channel]).mean())
    return 1 - np.mean(errors) / 255


PICTURES = [{"kind": "picture", "seed": seed, "size": size} for seed, size in enumerate(SIZES)]
CLIPS = [
    {"kind": "clip", "seed": seed, "size": size, "frames": 7 + seed % 2, "velocity": v, "shake": s}
    for seed, (size, v, s) in enumerate(
        product([(64, 96), (48, 32)], [(0.0, 0.0), (2.0, 1.0)], [0.0, 0.5, 4.0])
    )
]
# Far below the spread of the scores, and above float32 rounding. Sharpness and contrast need more:
# OpenCV's luma is computed in integers and is one level off in one pixel of a thousand.
ATOL = {
    "sharpness": 5e-2,
    "colorfulness": 1e-3,
    "contrast": 1e-5,
    "exposure": 1e-6,
    "motion-smoothness": 2e-4,
}

for name, atol in ATOL.items():
    formula = globals()[name.replace("-", "_")]
    cases = []
    for medium in CLIPS if name == "motion-smoothness" else PICTURES:
        rendered = render(medium)
        if name == "motion-smoothness":
            score = formula(rendered.frames.permute(0, 2, 3, 1).numpy())
        else:
            score = formula(rendered.permute(1, 2, 0).numpy().astype(float))
        cases.append(Case(medium=medium, score=score, atol=atol))
    Golden(
        reward=name,
        upstream="own formula, computed again with NumPy and SciPy",
        command="PYTHONPATH=.:tests python tests/oracle/own_formulas.py",
        versions={
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "scipy": scipy.__version__,
        },
        cases=cases,
    ).write()
