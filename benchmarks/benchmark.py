"""A benchmark as data: its prompts, how many pictures of each, what scores them, what sums them up.

A file of `benchmarks/catalogue` registers one or several; `get` finds them by name.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, final

from benchmarks.layout import Layout
from rewardkit import plugins
from rewardkit.errors import RewardKitError, UsageError, unknown
from rewardkit.records.provenance import sha256_text
from rewardkit.stats.totals import Headline

ENTRY_POINT_GROUP = "rewardkit.benchmarks"


@final
@dataclass(frozen=True)
class Case:
    """A prompt of a benchmark.

    Attributes:
        index: its place in the whole list, which also decides its seeds.
        task: the part of the benchmark it belongs to.
        prompt: the text.
        meta: what else its line says; rewards may read it.
    """

    index: int
    task: str
    prompt: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    def id(self, sample: int) -> str:
        """The name of a picture in results: task, prompt and sample, `colors/00270-03`."""
        return f"{self.task}/{self.index:05d}-{sample:02d}"


@final
@dataclass(frozen=True)
class PromptSet:
    """All prompts of a benchmark, in order, and where they are from."""

    source: str
    cases: Sequence[Case]

    @property
    def sha256(self) -> str:
        """Of all that the cases say."""
        said = [[one.task, one.prompt, dict(one.meta)] for one in self.cases]
        # A parquet file may hold what JSON has no form for, such as dates.
        return sha256_text(json.dumps(said, sort_keys=True, ensure_ascii=False, default=str))


@final
@dataclass(frozen=True)
class Scored:
    """A picture with its scores by reward; None where one failed.

    `cluster` is the first prompt of its task with the same text: lines that repeat a prompt are no
    further evidence about prompts.
    """

    task: str
    index: int
    sample: int
    scores: Mapping[str, float | None]
    cluster: int | None = None

    @property
    def prompt(self) -> int:
        """The number of the prompt it counts for in errors and tests."""
        return self.index if self.cluster is None else self.cluster


#: Further numbers of a benchmark by name, from the pictures that have all scores.
Figures = Callable[[Sequence[Scored]], dict[str, float]]


def _none(scored: Sequence[Scored]) -> dict[str, float]:
    return {}


@final
@dataclass(frozen=True)
class Benchmark:
    """What is asked of a model, and how the answer becomes one number; higher is better.

    Attributes:
        name: how it is asked for, and the column of a table.
        version: changes where numbers before and after cannot be compared.
        about: one line.
        prompts: reads or fetches them; None where they are the user's to give.
        rewards: a spec, whose first reward makes the headline; None where it is the user's.
        headline: "tasks", the mean of the means of tasks, or "items", the mean of all pictures.
        samples: pictures of each prompt.
        layout: where they lie.
        pictures: the name of the picture set; benchmarks that share it can share pictures.
        scale: what scores are multiplied by in results.
        unit: of the headline.
        figures: further numbers, of unscaled scores.
        paper: its address.
        notes: traps and conventions, each one sentence.
    """

    name: str
    version: str
    about: str
    prompts: Callable[[], PromptSet] | None
    rewards: str | None
    headline: Headline
    samples: int
    layout: Layout
    pictures: str
    unit: str
    scale: float = 1.0
    figures: Figures = _none
    paper: str | None = None
    notes: tuple[str, ...] = ()

    def on(self, prompts: str | None) -> Benchmark:
        """This benchmark on a file of prompts or a named list, where they are the user's to give.

        Raises:
            UsageError: they are missing, or given where the benchmark has its own.
        """
        from benchmarks.lists import named

        self._check_given("prompts", "-p", self.prompts is not None, prompts)
        if prompts is None:
            return self
        title, read = named(prompts)
        return replace(self, name=f"{self.name}/{title}", pictures=title, prompts=read)

    def by(self, rewards: str | None) -> Benchmark:
        """This benchmark scored by a spec, where that is the user's to give.

        Raises:
            UsageError: it is missing, or given where the benchmark has its own.
        """
        self._check_given("rewards", "-r", self.rewards is not None, rewards)
        return self if rewards is None else replace(self, rewards=rewards)

    def with_samples(self, samples: int | None) -> Benchmark:
        """This benchmark with so many pictures of each prompt; None is its own number.

        Raises:
            UsageError: its pictures are one for each prompt.
        """
        if samples is None or samples == self.samples:
            return self
        if not self.layout.numbers_samples:
            raise UsageError(
                f"{self.name} has one picture of each prompt; {samples} samples were asked for"
            )
        return replace(self, samples=samples)

    def _check_given(self, what: str, option: str, own: bool, given: str | None) -> None:
        if not own and given is None:
            raise UsageError(f"the {what} of {self.name} are yours to choose: give {option}")
        if own and given is not None:
            raise UsageError(f"{self.name} has its own {what}: leave out {option} {given}")


@final
@dataclass(frozen=True)
class Suite:
    """Several benchmarks that are run together, of the base model and of the trained one."""

    name: str
    about: str
    parts: Callable[[], Sequence[Benchmark]]
    paper: str | None = None
    notes: tuple[str, ...] = ()


_known: dict[str, Benchmark | Suite] = {}
_defaults: dict[str, str] = {}


def register(*benchmarks: Benchmark | Suite, default: str | None = None) -> None:
    """Makes benchmarks known by their names.

    Args:
        benchmarks: what to register.
        default: what the part of their names before the first dot means alone.

    Raises:
        RewardKitError: a name is taken, or malformed.
    """
    for one in benchmarks:
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", one.name):
            raise RewardKitError(
                f"a benchmark cannot be named {one.name!r}: small letters, digits, dots and "
                "hyphens are"
            )
        if one.name in _known:
            raise RewardKitError(f"two benchmarks are named {one.name}; rename one")
        _known[one.name] = one
    if default is not None:
        _defaults[default.partition(".")[0]] = default


def get(name: str) -> Benchmark | Suite:
    """The benchmark of that name.

    Raises:
        UsageError: there is none, with the nearest names.
    """
    known = catalogue()
    asked = name.casefold()
    asked = _defaults.get(asked, asked)
    if asked not in known:
        raise unknown("benchmark", name, [*known, *_defaults], "rewardkit bench list")
    return known[asked]


@cache
def catalogue() -> Mapping[str, Benchmark | Suite]:
    """All benchmarks by name: ours, then plug-ins'.

    Raises:
        RewardKitError: a plug-in cannot be loaded.
    """
    import benchmarks.catalogue as ours

    for module in pkgutil.iter_modules(ours.__path__):
        importlib.import_module(f"{ours.__name__}.{module.name}")
    for plugin in plugins.entry_points(ENTRY_POINT_GROUP):
        plugins.load(plugin, "benchmark plug-in")
    return dict(_known)
