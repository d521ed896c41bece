"""The result file: one benchmark of one model, with all that is needed to be believed.

    results/shapes-flow.shapes.json       this
    results/shapes-flow.shapes.parquet    a row per picture, as `rewardkit score` writes them
    results/shapes-flow.shapes.parquet.meta.json

A file says which version of the form it has; old ones stay readable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.benchmark import Scored
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.records.documents import DamagedDocument, read_json
from rewardkit.records.rows import Table, read_rows
from rewardkit.records.totals import Headline

SCHEMA: Literal[1] = 1
_ID = re.compile(r"(?P<task>[\w.-]+)/(?P<index>\d+)-(?P<sample>\d+)")


class Part(BaseModel):
    """A part of a result; the text under a field is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


@final
class Score(Part):
    """A mean over pictures."""

    score: float | None
    """The mean, times the benchmark's scale; null where no picture has a score."""
    interval: tuple[float, float] | None
    """95 %, by a bootstrap of prompts within tasks; null where one prompt alone tells nothing."""
    n: int = Field(ge=0)
    """Pictures that have a score."""
    expected: int = Field(ge=0)
    """Pictures that the benchmark has."""


@final
class Metric(Part):
    """What one reward says."""

    headline: Score
    tasks: dict[str, Score]


@final
class BenchmarkInfo(Part):
    """Which benchmark."""

    name: str
    version: str
    task: Literal["text-to-image"]
    metric: str
    """The reward that makes the headline."""
    headline: Headline
    """"tasks": the mean of the means of tasks; "items": of all pictures."""
    unit: str
    scale: float


@final
class ModelInfo(Part):
    """Which model."""

    name: str
    """As tables call it."""
    source: str | None = None
    """Repository or folder; null of pictures made elsewhere."""
    alias: str | None = None
    revision: str | None = None
    lora: str | None = None
    """What was trained of it and loaded."""
    trained_on: dict[str, Any] | None = None
    """As its RunCard says: reward, prompts, weights."""


@final
class PromptInfo(Part):
    """Which prompts."""

    source: str
    sha256: str
    number: int


@final
class ProtocolInfo(Part):
    """How pictures were made; null is unknown, of pictures made elsewhere."""

    samples: int
    """Of each prompt."""
    seed: int | None = None
    sampling: dict[str, Any] | None = None
    """Steps, guidance, size, text length."""
    scheduler: dict[str, Any] | None = None
    dtype: str | None = None
    batch: int | None = None
    """Pictures of one prompt that were made at once."""


@final
class PictureInfo(Part):
    """Which pictures."""

    folder: str
    """From the folder of the result."""
    made_here: bool
    sha256: str
    """The sum, modulo 2^256, of the checksums of ids and files: those of shards add up."""


@final
class Result(Part):
    """One benchmark of one model."""

    schema_version: Literal[1] = SCHEMA
    score: float | None
    """The headline of the benchmark's metric."""
    interval: tuple[float, float] | None
    complete: bool
    """Whether every picture has every score; a result that is not complete is not ranked."""
    n_expected: int
    n_scored: int
    shard: str | None = None
    """"3/8" where this is one of eight shards, to be merged; null of the whole."""
    benchmark: BenchmarkInfo
    model: ModelInfo
    metrics: dict[str, Metric]
    """By reward, the benchmark's first."""
    figures: dict[str, float]
    """Further numbers that the benchmark's authors report."""
    prompts: PromptInfo
    protocol: ProtocolInfo
    rewards: dict[str, Any]
    """By reward: checksums of weights, preprocessing, dtype."""
    weights: dict[str, Any]
    """By name: source, revision, checksum."""
    pictures: PictureInfo
    rows: str
    """File of the rows, from the folder of the result."""
    versions: dict[str, str]
    device: str
    created: str

    @property
    def tasks(self) -> dict[str, Score]:
        """The parts of the headline."""
        return self.metrics[self.benchmark.metric].tasks


def read_result(path: Path) -> Result:
    """The result in a file.

    Raises:
        InputError: there is none, it is no result, or a newer rewardkit wrote it.
    """
    try:
        told = read_json(path)
    except (OSError, DamagedDocument) as error:
        reason = f"it is {error.reason}" if isinstance(error, DamagedDocument) else describe(error)
        raise InputError(f"{path} cannot be read as a result: {reason}") from error
    version = told.get("schema_version") if isinstance(told, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{path} is no result of `rewardkit bench`: it has no schema_version")
    if version > SCHEMA:
        raise InputError(
            f"{path} has the form {version} of results, and this rewardkit reads up to {SCHEMA}: "
            "update it"
        )
    try:
        return Result.model_validate(told)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise InputError(f"{path} is damaged: {place}: {wrong['msg']}") from error


def read_table(result: Result, path: Path) -> Table:
    """The rows of the result at `path`.

    Raises:
        InputError: they cannot be read, or are of another result.
    """
    rows = path.parent / result.rows
    table = read_rows(rows)
    if set(table.rewards) != set(result.metrics):
        raise InputError(
            f"{rows} has scores of {', '.join(table.rewards)}, and {path} is of "
            f"{', '.join(result.metrics)}: they are not of one run"
        )
    return table


def scored(table: Table) -> list[Scored]:
    """The rows of a result as pictures.

    Raises:
        InputError: a row is of no benchmark.
    """
    return [Scored(*place(row.id), scores=row.scores) for row in table.rows]


def place(id: str) -> tuple[str, int, int]:
    """Task, prompt and sample that the id of a picture names.

    Raises:
        InputError: it is no such id.
    """
    match = _ID.fullmatch(id)
    if match is None:
        raise InputError(f"{id!r} does not name a picture of a benchmark: TASK/00012-03 does")
    return match["task"], int(match["index"]), int(match["sample"])


def file_name(benchmark: str, model: str, shard: str | None = None) -> str:
    """What the files of a result are called, without extension.

    Raises:
        UsageError: no file can have the model's name.
    """
    if not re.match(r"\w", model):
        raise UsageError(f"a model's name begins with a letter or a digit; {model!r} was given")
    parts = [model, benchmark, *([f"shard-{shard.replace('/', '-of-')}"] if shard else [])]
    return ".".join(re.sub(r"[^\w.-]+", "-", part) for part in parts)


def checksum(parts: Sequence[str]) -> str:
    """Checksums added up, modulo 2^256."""
    return f"{sum(int(part, 16) for part in parts) % 2**256:064x}"
