"""The result file: one benchmark of one model, with everything needed to check it.

    results/shapes-flow.shapes.json       this
    results/shapes-flow.shapes.parquet    a row per picture or clip
    results/shapes-flow.shapes.parquet.meta.json

A file says which version of the schema it has; `benchmarks.reading` reads older ones too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final

from pydantic import Field, PrivateAttr, model_validator

from benchmarks.criteria import Criterion
from benchmarks.fields import LONGEST, Count, FileName, Interval, ResultPart, Sha256, ShardName
from benchmarks.rows import frame_of
from benchmarks.shard import Shard
from rewardkit.errors import UsageError
from rewardkit.media.task import Task
from rewardkit.records.rows import read_rows

if TYPE_CHECKING:
    import pandas as pd

SCHEMA: Literal[2] = 2


@final
class Score(ResultPart):
    """A mean over pictures or clips."""

    score: float | None
    """The mean, times the benchmark's scale; null where nothing has a score."""
    interval: Interval | None
    """The 95 % confidence interval, by a bootstrap of prompts within those of the same tags; null
    where there is only one such prompt."""
    n: Count
    """How many have a score."""
    expected: Count
    """How many the benchmark has."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.n > self.expected:
            raise ValueError(f"n is {self.n}, of {self.expected} expected")
        return self


@final
class Metric(ResultPart):
    """The number of one reward, or of all criteria together, and what it is made of."""

    headline: Score
    tasks: dict[str, Score]
    """By tag: the mean over its pictures or clips. Of the total of several rewards, by criterion:
    the normalised mean."""

    @model_validator(mode="after")
    def _covers(self) -> Self:
        for name in ("n", "expected"):
            parts = [getattr(task, name) for task in self.tasks.values()]
            whole = getattr(self.headline, name)
            # One that has several tags counts for each.
            if not max(parts, default=whole) <= whole <= sum(parts):
                raise ValueError(
                    f"{name} of the headline is {whole}, and that of its tasks {sum(parts)} in all"
                )
        return self


@final
class CriterionInfo(ResultPart):
    """A criterion of a benchmark: see `benchmarks.criteria.Criterion`."""

    reward: str
    tag: str | None = None
    low: float = 0.0
    high: float = 1.0
    weight: float = Field(default=1.0, gt=0)
    threshold: float | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; low is below high")
        return self


@final
class BenchmarkInfo(ResultPart):
    """Which benchmark."""

    name: str
    version: str
    task: Task
    metric: str
    """The name of its number: a reward, or `is_total` where criteria are of several rewards."""
    criteria: tuple[CriterionInfo, ...] = Field(min_length=1)
    """The means that make its number."""
    unit: str
    scale: float = Field(gt=0)

    def is_total(self, metric: str) -> bool:
        """Whether a metric is the number of all criteria, which are of several rewards."""
        return metric == self.metric and all(part.reward != metric for part in self.criteria)

    def own_criteria(self) -> tuple[Criterion, ...]:
        """The criteria, as they are computed with."""
        return tuple(Criterion(**criterion.model_dump()) for criterion in self.criteria)


@final
class ModelInfo(ResultPart):
    """Which model."""

    name: str
    """The name in tables."""
    source: str | None = None
    """Repository or folder; null where the pictures or clips were made elsewhere."""
    alias: str | None = None
    revision: str | None = None
    lora: str | None = None
    """The trained weights that were loaded: a LoRA's file, or a folder with all weights."""
    trained_on: dict[str, Any] | None = None
    """The rewards, prompts and weights it was trained on, as its RunCard says."""


@final
class PromptInfo(ResultPart):
    """Which prompts."""

    source: str
    sha256: Sha256
    number: int = Field(ge=1)


@final
class ProtocolInfo(ResultPart):
    """How pictures or clips were made; null is unknown, where they were made elsewhere."""

    samples: int = Field(ge=1)
    """Pictures or clips of each prompt."""
    seed: int | None = None
    sampling: dict[str, Any] | None = None
    """Steps, guidance, size, number of frames and frame rate, text length."""
    scheduler: dict[str, Any] | None = None
    dtype: str | None = None
    batch: int | None = None
    """How many of one prompt were made at once."""


@final
class MediaInfo(ResultPart):
    """Which pictures or clips."""

    folder: str
    """Their folder, relative to that of the result."""
    made_here: bool
    sha256: Sha256
    """The sum, modulo 2^256, of the checksums of ids and files, so that those of shards add up."""


@final
class Result(ResultPart):
    """One benchmark of one model."""

    schema_version: Literal[2] = SCHEMA
    score: float | None
    """The headline of the benchmark's metric."""
    interval: Interval | None
    complete: bool
    """Whether every picture or clip has every score; an incomplete result is not ranked."""
    n_expected: Count
    n_scored: Count
    shard: ShardName | None = None
    """"3/8" for the third of eight shards, which are to be merged; null for the whole."""
    benchmark: BenchmarkInfo
    model: ModelInfo
    metrics: dict[str, Metric]
    """By reward, first the benchmark's metric."""
    figures: dict[str, float]
    """Further numbers that the benchmark's authors report."""
    prompts: PromptInfo
    protocol: ProtocolInfo
    rewards: dict[str, Any]
    """Checksums of weights, preprocessing and dtype, by reward."""
    weights: dict[str, Any]
    """Source, revision and checksum, by name."""
    media: MediaInfo
    rows: FileName
    """The file of the rows, in the folder of the result."""
    versions: dict[str, str]
    device: str
    created: str
    _folder: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """Refuses a file that contradicts itself; `benchmarks.trust` compares it with its rows."""
        name, metric = self.benchmark.metric, self.metrics.get(self.benchmark.metric)
        if metric is None:
            raise ValueError(f"benchmark.metric is {name[:LONGEST]!r}, which is not in metrics")
        if (self.score, self.interval) != (metric.headline.score, metric.headline.interval):
            raise ValueError(
                f"score is {self.score} with the interval {self.interval}, and metrics.{name} "
                f"says {metric.headline.score} with {metric.headline.interval}"
            )
        whole = self.prompts.number * self.protocol.samples
        if self.n_expected != whole:
            raise ValueError(
                f"{self.n_expected} are expected; {self.prompts.number} prompts with "
                f"{self.protocol.samples} samples each are {whole}"
            )
        headlines = [metric.headline for metric in self.metrics.values()]
        if any(headline.expected > whole for headline in headlines):
            raise ValueError(f"a reward expects more than {whole}")
        if any(self.n_scored > headline.n for headline in headlines if headline.expected == whole):
            raise ValueError(f"n_scored is {self.n_scored}, and a reward has fewer scores")
        if self.n_scored > whole:
            raise ValueError(f"n_scored is {self.n_scored}, of {whole} expected")
        if self.complete != (self.n_scored == self.n_expected):
            raise ValueError(
                f"complete is {self.complete}, with {self.n_scored} of {self.n_expected} scored"
            )
        if self.shard is not None and Shard.parse(self.shard).total > self.prompts.number:
            raise ValueError(f"{self.prompts.number} prompts have no shard {self.shard}")
        return self

    def measure(self) -> dict[str, Any]:
        """What two results must have in common for their scores to measure the same thing.

        Benchmark, version and criteria; prompts, by their checksum; rewards, by the checksums of
        their weights and their preprocessing. Equal prompts may lie in files of different names.
        """
        criteria = {
            f"{criterion.reward} {criterion.tag or 'all'}": criterion.model_dump(
                mode="json", exclude={"reward", "tag"}
            )
            for criterion in self.benchmark.criteria
        }
        return {
            "benchmark": {**self.benchmark.model_dump(mode="json"), "criteria": criteria},
            "prompts": self.prompts.model_dump(mode="json", exclude={"source"}),
            "rewards": self.rewards,
        }

    def __eq__(self, other: object) -> bool:
        """Whether both say the same, wherever their files lie."""
        return isinstance(other, Result) and dict(self) == dict(other)

    def beside(self, folder: Path) -> Self:
        """This result as one whose rows lie in `folder`."""
        self._folder = folder
        return self

    def frame(self) -> pd.DataFrame:
        """One row per picture or clip, as `benchmarks.rows.frame_of` says.

        Raises:
            UsageError: the result was not read from a file.
            InputError: its rows cannot be read.
            MissingPackage: the extra `pandas` is not installed.
        """
        if self._folder is None:
            raise UsageError(
                "the rows of a result lie beside its file: read it with "
                "benchmarks.reading.read_result(path)"
            )
        return frame_of(read_rows(self._folder / self.rows))

    @property
    def tasks(self) -> dict[str, Score]:
        """What the headline is made of."""
        return self.metrics[self.benchmark.metric].tasks


def file_name(benchmark: str, model: str, shard: str | None = None) -> str:
    """The name of the files of a result, without extension.

    Raises:
        UsageError: no file can have the model's name.
    """
    if not re.match(r"\w", model):
        raise UsageError(
            f"a model's name begins with a letter or a digit; {model!r} was given. Choose --name"
        )
    parts = [model, benchmark, *([f"shard-{shard.replace('/', '-of-')}"] if shard else [])]
    return ".".join(re.sub(r"[^\w.-]+", "-", part) for part in parts)
