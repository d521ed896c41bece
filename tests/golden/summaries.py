"""Verdicts made from seeds, and what GenEval's own script makes of them."""

from __future__ import annotations

import numpy as np
from golden.cases import FOLDER
from pydantic import BaseModel, ConfigDict

from rewardkit.geneval.aggregate import JudgedImage
from rewardkit.geneval.names import TAGS

_FILE = FOLDER / "geneval" / "summaries.json"


class SummaryCase(BaseModel):
    """Upstream's numbers for `verdicts(seed)`, and the page it prints."""

    model_config = ConfigDict(extra="forbid")

    seed: int
    tags: dict[str, float]
    overall: float
    printed: str


class Summaries(BaseModel):
    """The golden file; fields as in `golden.cases.Golden`."""

    model_config = ConfigDict(extra="forbid")

    upstream: str
    command: str
    versions: dict[str, str]
    cases: list[SummaryCase]

    def write(self) -> None:
        """Write the file."""
        _FILE.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load() -> list[SummaryCase]:
    """The cases."""
    return Summaries.model_validate_json(_FILE.read_bytes()).cases


def prompts(seed: int) -> dict[str, str]:
    """The tasks of prompts, of which tasks have different numbers."""
    rng = np.random.RandomState(seed)
    return {f"{tag} {i}": tag for tag in TAGS for i in range(rng.randint(3, 12))}


def verdicts(seed: int) -> list[JudgedImage]:
    """Four per prompt, in any order; of an odd seed a task and some more are missing."""
    rng = np.random.RandomState(100 + seed)
    able = dict(zip(TAGS, rng.rand(len(TAGS)), strict=True))
    judged = [
        JudgedImage(tag, prompt, bool(rng.rand() < able[tag]))
        for prompt, tag in prompts(seed).items()
        for _ in range(4)
        if not (seed % 2 and (tag == TAGS[seed] or rng.rand() < 0.2))
    ]
    return [judged[i] for i in rng.permutation(len(judged))]
