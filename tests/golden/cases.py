"""Golden files: scores that other code computed, and how to compute them again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

FOLDER = Path(__file__).parent


class Case(BaseModel):
    """One medium with its score, and how far from it rewardkit may be."""

    model_config = ConfigDict(extra="forbid")

    medium: dict[str, Any]  # a recipe of `golden.media`
    score: float
    atol: float


class Golden(BaseModel):
    """The golden file of one reward.

    Attributes:
        reward: its name, and the file's.
        upstream: whose code computed the scores: repository@commit path, or "own formula".
        command: run from the repository's root, writes the file again.
        versions: of the libraries that can change a score.
        cases: at least two; see `spread`.
    """

    model_config = ConfigDict(extra="forbid")

    reward: str
    upstream: str
    command: str
    versions: dict[str, str]
    cases: list[Case]

    @property
    def spread(self) -> float:
        """Highest minus lowest score: a test says little unless it is far above the tolerance."""
        scores = [case.score for case in self.cases]
        return max(scores) - min(scores)

    def write(self) -> None:
        """Write the file."""
        text = self.model_dump_json(indent=1)
        (FOLDER / f"{self.reward}.json").write_text(text + "\n", encoding="utf-8")


def load(reward: str) -> Golden:
    """The golden file of `reward`."""
    return Golden.model_validate_json((FOLDER / f"{reward}.json").read_bytes())
