"""The result file: one benchmark of one model, with all that is needed to be believed.

    results/shapes-flow.shapes.json       this
    results/shapes-flow.shapes.parquet    a row per picture, as `rewardkit score` writes them
    results/shapes-flow.shapes.parquet.meta.json

A file says which version of the form it has; old ones stay readable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal, Self, final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from benchmarks.benchmark import Scored
from benchmarks.shard import Shard
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.records.documents import DamagedDocument, read_json
from rewardkit.records.rows import Table, read_rows
from rewardkit.stats.totals import Headline

SCHEMA: Literal[1] = 1
_ID = re.compile(r"(?P<task>[\w.-]+)/(?P<index>[0-9]{1,9})-(?P<sample>[0-9]{1,9})")
# Of a value that is refused, this much is told.
_LONGEST = 80


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"its ends {ends[0]:.4g} and {ends[1]:.4g} are not in order")
    return ends


def _bare(name: str) -> str:
    # Of Windows, whose separators and drives are the more.
    if PureWindowsPath(name).name != name or name in ("", ".", "..") or len(name) > 255:
        raise ValueError(f"{name[:_LONGEST]!r} is not the bare name of a file beside it")
    return name


def _shard(text: str) -> str:
    try:
        return str(Shard.parse(text))
    except UsageError:
        raise ValueError(f"a shard is written 3/8; this is {text[:_LONGEST]!r}") from None


Interval = Annotated[tuple[float, float], AfterValidator(_ordered)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


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
    interval: Interval | None
    """95 %, by a bootstrap of prompts within tasks; null where one prompt alone tells nothing."""
    n: Count
    """Pictures that have a score."""
    expected: Count
    """Pictures that the benchmark has."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.n > self.expected:
            raise ValueError(f"n is {self.n}, of {self.expected} expected")
        return self


@final
class Metric(Part):
    """What one reward says."""

    headline: Score
    tasks: dict[str, Score]

    @model_validator(mode="after")
    def _sums(self) -> Self:
        for name in ("n", "expected"):
            parts = sum(getattr(task, name) for task in self.tasks.values())
            if parts != getattr(self.headline, name):
                raise ValueError(
                    f"{name} of the headline is {getattr(self.headline, name)}, and that of its "
                    f"tasks {parts} in all"
                )
        return self


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
    scale: float = Field(gt=0)


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
    sha256: Sha256
    number: int = Field(ge=1)


@final
class ProtocolInfo(Part):
    """How pictures were made; null is unknown, of pictures made elsewhere."""

    samples: int = Field(ge=1)
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
    sha256: Sha256
    """The sum, modulo 2^256, of the checksums of ids and files: those of shards add up."""


@final
class Result(Part):
    """One benchmark of one model."""

    schema_version: Literal[1] = SCHEMA
    score: float | None
    """The headline of the benchmark's metric."""
    interval: Interval | None
    complete: bool
    """Whether every picture has every score; a result that is not complete is not ranked."""
    n_expected: Count
    n_scored: Count
    shard: Annotated[str, AfterValidator(_shard)] | None = None
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
    rows: Annotated[str, AfterValidator(_bare)]
    """File of the rows, in the folder of the result."""
    versions: dict[str, str]
    device: str
    created: str

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Refuses a file that contradicts itself; what its rows say, `benchmarks.trust` asks."""
        metric, of = self.benchmark.metric, self.metrics.get(self.benchmark.metric)
        if of is None:
            raise ValueError(f"benchmark.metric is {metric[:_LONGEST]!r}, which is not in metrics")
        if (self.score, self.interval) != (of.headline.score, of.headline.interval):
            raise ValueError(
                f"score is {self.score} with the interval {self.interval}, and metrics.{metric} "
                f"says {of.headline.score} with {of.headline.interval}"
            )
        pictures = self.prompts.number * self.protocol.samples
        counts = [self.n_expected, *(one.headline.expected for one in self.metrics.values())]
        wrong = next((count for count in counts if count != pictures), None)
        if wrong is not None:
            raise ValueError(
                f"{wrong} pictures are expected; {self.prompts.number} prompts with "
                f"{self.protocol.samples} pictures each are {pictures}"
            )
        if self.n_scored > min(one.headline.n for one in self.metrics.values()):
            raise ValueError(f"n_scored is {self.n_scored}, and a reward has fewer scores")
        if self.complete != (self.n_scored == self.n_expected):
            raise ValueError(
                f"complete is {self.complete}, with {self.n_scored} of {self.n_expected} pictures"
            )
        if self.shard is not None and Shard.parse(self.shard).total > self.prompts.number:
            raise ValueError(f"{self.prompts.number} prompts have no shard {self.shard}")
        return self

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
        result = Result.model_validate(told)
        # What a model or a protocol says of itself is anything, but for what is no JSON.
        json.dumps(told, allow_nan=False)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = "".join(f"{part}: " for part in [".".join(map(str, wrong["loc"]))] if part)
        why = wrong["msg"].removeprefix("Value error, ")
        raise InputError(f"{path} is damaged: {place}{why}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {describe(error)}") from error
    return result


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
    cluster = clusters(table)
    return [
        Scored(*place(row.id), scores=row.scores, cluster=cluster[row.id]) for row in table.rows
    ]


def clusters(table: Table) -> dict[str, int]:
    """By the id of a picture, its prompt: the first of its task that has the same text.

    A picture without a prompt counts for the line of the benchmark it was made for.

    Raises:
        InputError: a row is of no benchmark.
    """
    first: dict[tuple[str, str], int] = {}
    found = {}
    for row in sorted(table.rows, key=lambda row: place(row.id)):
        task, index, _ = place(row.id)
        found[row.id] = index if row.prompt is None else first.setdefault((task, row.prompt), index)
    return found


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
