"""Golden files of networks that see a picture and a prompt, on weights that both sides can make."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from golden.cases import FOLDER


class PromptedCase(BaseModel):
    """One of the pictures of `pictures.twelve()` with a prompt, on the way to its score."""

    model_config = ConfigDict(extra="forbid")

    picture: int
    prompt: str
    ids: list[int]
    pixels: list[float]  # see `sample`
    score: float


class PromptedGolden(BaseModel):
    """The golden file of one reward; fields as in `golden.cases.Golden`."""

    model_config = ConfigDict(extra="forbid")

    reward: str
    upstream: str
    command: str
    versions: dict[str, str]
    cases: list[PromptedCase]

    @property
    def spread(self) -> float:
        """Highest minus lowest score: a test says little unless it is far above the tolerance."""
        scores = [case.score for case in self.cases]
        return max(scores) - min(scores)

    def write(self) -> None:
        """Write the file."""
        text = self.model_dump_json(indent=None)
        (FOLDER / f"{self.reward}.json").write_text(text + "\n", encoding="utf-8")


def load(reward: str) -> PromptedGolden:
    """The golden file of `reward`."""
    return PromptedGolden.model_validate_json((FOLDER / f"{reward}.json").read_bytes())


def fill(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same names and shapes with random numbers that depend on name and shape alone.

    Matrices get variance 1/fan-in, vectors 0.01, and the weights of norms are around 1, so that
    signals neither die nor explode and every parameter matters. Integers stay.
    """
    return {
        key: _random(key, value) if value.is_floating_point() else value.clone()
        for key, value in state.items()
    }


def sample(pixels: torch.Tensor) -> list[float]:
    """Some of a network's input `[3, H, W]`: every 48th row and column, from the 16th."""
    return [round(value, 7) for value in pixels[:, 16::48, 16::48].flatten().tolist()]


def _random(key: str, like: torch.Tensor) -> torch.Tensor:
    # RandomState's streams are frozen; those of numpy's newer generators may change.
    normal = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(like.shape))
    if like.ndim > 1:
        values = normal / np.sqrt(normal[0].size)
    else:
        is_norm = "norm" in key.lower() and key.endswith("weight")
        values = is_norm + 0.1 * normal
    return torch.from_numpy(values.astype(np.float32))
