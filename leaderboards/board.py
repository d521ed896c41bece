"""What is shown: boards, their rows, and standings across boards. Only data.

    Leaderboard -> Board (one benchmark, version and metric) -> BoardEntry (one model, one protocol)
                -> Standings (the models across the boards of a task)

`leaderboards.assemble` makes it from result files; tables and pages are functions of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, final

from benchmarks.results import Result, Score
from leaderboards.published import PublishedRow
from rewardkit.media.task import Task

#: What tables call a task.
SHORT: Mapping[Task, str] = {
    "text-to-image": "image",
    "text-to-video": "T2V",
    "image-to-video": "I2V",
    "image-edit": "edit",
}


class Ranks(NamedTuple):
    """The ranks that a model can have: from 1 + those surely better to n - those surely worse."""

    best: int
    worst: int

    def __str__(self) -> str:
        """`2`, or `1-3` with an en dash."""
        return str(self.best) if self.best == self.worst else f"{self.best}\u2013{self.worst}"


class UnusualSetting(NamedTuple):
    """A setting that an entry's media were made with, and most others of its board were not.

    Attributes:
        setting: `steps`, `guidance`, `size`, `scheduler`, `samples` ...
        value: as text; `unknown` where the result does not say it.
    """

    setting: str
    value: str


@final
@dataclass(frozen=True)
class BoardEntry:
    """A row of a board: one model with one protocol, or one published row.

    Attributes:
        id: a name that no other entry of the leaderboard has, of letters, digits, `.`, `_` and `-`.
        model: its name. Two entries of a board may share it; `label` tells them apart.
        label: the name, with the settings that tell it from namesakes of the board.
        score: the headline, times the board's scale; None where nothing has a score.
        tasks: by task of the board, each with score, interval, n and expected. Published ones have
            no interval, and n = expected = 0, because papers do not say.
        metrics: the headlines of the other rewards, by name.
        figures: further numbers that the benchmark's authors report.
        ranks: None where it is not ranked.
        unranked: why it is not ranked, in a few words; None where it is.
        complete: whether every picture or clip has every score.
        trained_on: the spec of rewards that the model was trained on; None where nothing says so.
        trained_metrics: the board's metrics, the headline's included, that are among them.
        protocol: how the media were made, as text by setting, for people.
        differs: the settings that differ from the usual ones of the board; they mark it.
        result: the whole result of a measured entry.
        path: the result's file.
        media: the folder of pictures or clips as the result names it; it may not exist here.
        published: the whole row of a published entry.
    """

    id: str
    model: str
    label: str
    score: Score
    tasks: Mapping[str, Score]
    metrics: Mapping[str, Score] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    ranks: Ranks | None = None
    unranked: str | None = None
    complete: bool = True
    trained_on: str | None = None
    trained_metrics: tuple[str, ...] = ()
    protocol: Mapping[str, str] = field(default_factory=dict)
    differs: Sequence[UnusualSetting] = ()
    result: Result | None = None
    path: Path | None = None
    media: Path | None = None
    published: PublishedRow | None = None

    @property
    def measured(self) -> bool:
        """Whether it was measured here, or read in a paper."""
        return self.published is None


@final
@dataclass(frozen=True)
class Board:
    """One benchmark, version and metric: what may stand in one column.

    Results of other prompts, or by a reward with other weights, are on another board of the same
    benchmark; `variant` tells them apart.

    Attributes:
        id: a name that no other board of the leaderboard has, of letters, digits, `.`, `_`, `-`.
        task: what its models make.
        benchmark: its name.
        version: numbers of other versions cannot be compared; empty for published numbers.
        metric: the name of the headline; higher is better.
        unit: the unit of the headline.
        scale: what the metric was multiplied by.
        averaging: how scores become the headline, in words.
        rewards: the rewards that make the headline.
        tasks: the names of its parts, in order; empty where it has only one.
        metrics: the names of its other rewards, in order.
        prompts: how many; 0 where nothing was measured.
        prompts_sha256: which; empty where nothing was measured.
        entries: measured ones: those that rank by score, then those that do not.
        published: rows from papers, by score; never ranked, nor to be mixed with `entries`.
        variant: how it differs from the benchmark's main board; None for the main one.
        notes: what to know when reading it, each one sentence.
    """

    id: str
    task: Task
    benchmark: str
    version: str
    metric: str
    unit: str
    scale: float
    averaging: str
    rewards: tuple[str, ...]
    tasks: tuple[str, ...]
    metrics: tuple[str, ...]
    prompts: int
    prompts_sha256: str
    entries: tuple[BoardEntry, ...]
    published: tuple[BoardEntry, ...] = ()
    variant: str | None = None
    notes: tuple[str, ...] = ()

    def trained(self, entry: BoardEntry) -> bool:
        """Whether a model was trained on a reward that makes the headline."""
        return any(reward in entry.trained_metrics for reward in self.rewards)

    @property
    def ranked(self) -> tuple[BoardEntry, ...]:
        """The entries that have ranks, best first."""
        return tuple(entry for entry in self.entries if entry.ranks is not None)


@final
@dataclass(frozen=True)
class Standing:
    """A model across the boards of a task, where it is ranked on each of them.

    Attributes:
        model: its label, the same on each board.
        mean_rank: over the boards, of the middle of its ranks among the models that stand here.
        win_rate: the mean, over boards and over the other models that stand here, of the share of
            prompts on which it is better, where equal counts half.
        ranks: on each board among the models that stand here, by the board's id.
        trained_metrics: the boards' metrics that it was trained on.
    """

    model: str
    mean_rank: float
    win_rate: float | None
    ranks: Mapping[str, Ranks]
    trained_metrics: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Standings:
    """The models of a task across its boards, best mean rank first.

    Attributes:
        task: what the models make.
        boards: the ids of the boards that count, two or more: main ones, with two ranked models.
        rows: the models that are ranked on each.
        absent: the models that are ranked on some only: label -> ids of the boards they lack.
    """

    task: Task
    boards: tuple[str, ...]
    rows: tuple[Standing, ...]
    absent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Leaderboard:
    """All boards of some results, by task and name.

    Attributes:
        boards: one for each benchmark, version, metric and variant.
        standings: one for each task that has two boards to stand on.
        notes: which files were left out, and why, each one sentence.
        folders: folders that were named, or hold a file that was; media may lie there.
    """

    boards: tuple[Board, ...]
    standings: tuple[Standings, ...] = ()
    notes: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
