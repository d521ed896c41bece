"""Numbers from papers and READMEs, each with its source: `*.csv` of this folder.

Their sources seldom say which prompts, seeds, sizes and evaluators were used. So they are shown
apart from measured numbers, only on request, and never ranked. Where sources contradict one
another, each has its row, and the note says so.

A row is a model's score; columns `part:NAME` hold its parts. An empty cell is unknown.
"""

from __future__ import annotations

import csv
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rewardkit.errors import InputError
from rewardkit.media.task import Task

FOLDER = Path(__file__).parent
_PART = "part:"


@final
class PublishedRow(BaseModel):
    """A row; the text under a field is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    model: str = Field(min_length=1)
    """As the source calls it, or so that rows of one name can be told apart."""
    weights: str | None
    """Which, where the name does not say."""
    task: Task
    benchmark: str = Field(min_length=1)
    """A name of `rewardkit bench list`, or one of the source's own."""
    metric: str = Field(min_length=1)
    """A name of `rewardkit list`, or one of the source's own."""
    unit: str = Field(min_length=1)
    score: Decimal
    """In the unit of the benchmark, with the source's digits; the note says where the source prints
    another."""
    tasks: dict[str, Decimal]
    """Parts of the score, all of them or none."""
    resolution: str | None
    steps: int | None
    guidance: float | None
    rewriter: bool | None
    """Whether a language model rewrote the prompts first."""
    trained_on: str | None
    """The rewards that it was trained on, as a spec."""
    evaluator: str | None
    """Which build judged."""
    source: str = Field(min_length=1)
    """Where it is printed: REPOSITORY@COMMIT:PATH, or words."""
    evidence: Literal["read", "secondary"]
    """Whether the source was read, or a copy of what it says."""
    verified: bool
    """Whether rewardkit has measured it again."""
    note: str | None

    @model_validator(mode="before")
    @classmethod
    def _cells(cls, row: dict[str, Any]) -> dict[str, Any]:
        """A row of CSV: empty cells are None, cells of tasks one mapping."""
        known = {key: value or None for key, value in row.items() if not key.startswith(_PART)}
        parts = {key: value for key, value in row.items() if key.startswith(_PART) and value}
        return {**known, "tasks": {key.removeprefix(_PART): value for key, value in parts.items()}}


@cache
def published() -> tuple[PublishedRow, ...]:
    """All rows, in the order of files and lines.

    Raises:
        InputError: a row is wrong.
    """
    return tuple(row for path in sorted(FOLDER.glob("*.csv")) for row in read(path))


def read(path: Path) -> list[PublishedRow]:
    """The rows of a file.

    Raises:
        InputError: one is wrong.
    """
    with path.open(newline="", encoding="utf-8") as file:
        found = []
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                found.append(PublishedRow.model_validate(row))
            except ValidationError as error:
                wrong = error.errors()[0]
                where = ".".join(map(str, wrong["loc"])) or "columns"
                raise InputError(f"{path}, line {number}: {where}: {wrong['msg']}") from error
    return found
