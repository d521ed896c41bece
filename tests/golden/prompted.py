"""Golden files of networks that see a picture and a prompt, on weights that both sides can make."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from golden.cases import FOLDER
from pydantic import BaseModel, ConfigDict

from rewardkit.records.provenance import sha256_text


class PromptedCase(BaseModel):
    """One of the pictures of `pictures.twelve()` with a prompt, on the way to its score."""

    model_config = ConfigDict(extra="forbid")

    picture: int
    prompt: str
    ids: list[int]
    pixels: list[float]  # see `sample`
    score: float


class PromptedGolden(BaseModel):
    """The golden file of one reward; fields as in `golden.cases.Golden`, and `layout`."""

    model_config = ConfigDict(extra="forbid")

    reward: str
    upstream: str
    command: str
    versions: dict[str, str]
    layout: str  # of the published size, where the cases are of a smaller one; see `layout`
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


def layout(state: Mapping[str, torch.Tensor]) -> str:
    """A checksum of the names and shapes of a network's tensors, in any order."""
    lines = sorted(f"{key} {list(value.shape)}\n" for key, value in state.items())
    return sha256_text("".join(lines))


def sample(pixels: torch.Tensor) -> list[float]:
    """Some of a network's input `[3, H, W]`: every 48th row and column, from the 16th."""
    return [round(value, 7) for value in pixels[:, 16::48, 16::48].flatten().tolist()]


def _random(key: str, like: torch.Tensor) -> torch.Tensor:
    # RandomState's streams are frozen; those of numpy's newer generators may change.
    normal = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(tuple(like.shape))
    if like.ndim > 1:
        values = normal / np.sqrt(normal[0].size)
    else:
        # CLIP calls its norms ln_1, ln_post, ln_final.
        is_norm = ("norm" in key.lower() or "ln_" in key) and key.endswith("weight")
        values = is_norm + 0.1 * normal
    return torch.tensor(values, dtype=torch.float32)  # a logit scale is no array
