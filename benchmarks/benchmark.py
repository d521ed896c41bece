"""A benchmark as data: its task, its prompts, the rewards that score it, and its criteria.

A file of `benchmarks/catalogue` registers one or several; `get` finds them by name.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import final

from benchmarks.criteria import EVERYTHING, TOTAL, Criterion
from benchmarks.layout import Layout
from benchmarks.lists import prompt_list
from benchmarks.prompts import PromptSet
from benchmarks.rows import ScoredSample
from rewardkit import plugins
from rewardkit.errors import RewardKitError, UsageError, unknown
from rewardkit.media.task import Task

ENTRY_POINT_GROUP = "rewardkit.benchmarks"


#: Further numbers of a benchmark by name, from the pictures or clips that have all scores.
Figures = Callable[[Sequence[ScoredSample]], dict[str, float]]


def _no_figures(scored: Sequence[ScoredSample]) -> dict[str, float]:
    return {}


@final
@dataclass(frozen=True)
class Benchmark:
    """What a model is asked to make, and how scores become one number; higher is better.

    Attributes:
        name: the name on the command line, and the column of a table.
        version: changes where numbers before and after cannot be compared.
        about: one line.
        task: what is made from what, which decides the medium.
        prompts: reads or downloads them; None where the user chooses them.
        rewards: a spec of the rewards that score it; None where the user chooses them.
        criteria: the means that make its number; by default the mean of the first reward.
        samples: pictures or clips of each prompt.
        layout: the names of their files.
        media: the name of the set of files; benchmarks with the same set share its files.
        total: the name of its number, where criteria are of several rewards.
        scale: what scores are multiplied by in results.
        unit: the unit of its number.
        figures: further numbers, made of unscaled scores.
        paper: the address of its paper.
        notes: traps and conventions, each one sentence.
    """

    name: str
    version: str
    about: str
    task: Task
    prompts: Callable[[], PromptSet] | None
    rewards: str | None
    samples: int
    layout: Layout
    media: str
    unit: str
    criteria: tuple[Criterion, ...] = EVERYTHING
    total: str = TOTAL
    scale: float = 1.0
    figures: Figures = _no_figures
    paper: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [criterion.name for criterion in self.criteria]
        if not names or len(set(names)) < len(names):
            raise RewardKitError(
                f"the benchmark {self.name} has the criteria {', '.join(names) or '(none)'}; it "
                "needs at least one, and each needs a tag of its own"
            )

    def on(self, prompts: str | None) -> Benchmark:
        """This benchmark on a file of prompts or a named list, where the user chooses them.

        Raises:
            UsageError: they are missing, or given although the benchmark has its own.
        """
        self._check_option("prompts", "-p", self.prompts is not None, prompts)
        if prompts is None:
            return self
        title, read = prompt_list(prompts, self.task)
        return replace(self, name=f"{self.name}/{title}", media=title, prompts=read)

    def by(self, rewards: str | None) -> Benchmark:
        """This benchmark scored by a spec, where the user chooses the rewards.

        Raises:
            UsageError: it is missing, or given although the benchmark has its own.
        """
        self._check_option("rewards", "-r", self.rewards is not None, rewards)
        return self if rewards is None else replace(self, rewards=rewards)

    def with_samples(self, samples: int | None) -> Benchmark:
        """This benchmark with another number of samples per prompt; None keeps its own.

        Raises:
            UsageError: its layout has one place for each prompt.
        """
        if samples is None or samples == self.samples:
            return self
        if not self.layout.numbers_samples:
            raise UsageError(
                f"{self.name} takes one sample per prompt; {samples} were asked for. Leave out "
                "--samples"
            )
        return replace(self, samples=samples)

    def _check_option(self, what: str, option: str, own: bool, value: str | None) -> None:
        if not own and value is None:
            raise UsageError(f"{self.name} has no {what} of its own: choose them with {option}")
        if own and value is not None:
            raise UsageError(f"{self.name} has its own {what}: leave out {option} {value}")


@final
@dataclass(frozen=True)
class Suite:
    """Several benchmarks that are run together, on the base model and on the trained one."""

    name: str
    about: str
    parts: Callable[[], Sequence[Benchmark]]
    paper: str | None = None
    notes: tuple[str, ...] = ()


_known: dict[str, Benchmark | Suite] = {}
_defaults: dict[str, str] = {}


def register(*benchmarks: Benchmark | Suite, default: str | None = None) -> None:
    """Registers benchmarks by their names.

    Args:
        benchmarks: what to register.
        default: the name that the part of their names before the first dot stands for.

    Raises:
        RewardKitError: a name is taken or malformed.
    """
    for benchmark in benchmarks:
        name = benchmark.name
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
            raise RewardKitError(
                f"a benchmark cannot be named {name!r}: use small letters, digits, dots and hyphens"
            )
        if name in _known:
            raise RewardKitError(f"two benchmarks are named {name}; rename one")
        _known[name] = benchmark
    if default is not None:
        _defaults[default.partition(".")[0]] = default


def get(name: str) -> Benchmark | Suite:
    """The benchmark of that name.

    Raises:
        UsageError: there is none; the message names the nearest ones.
    """
    known = catalogue()
    key = name.casefold()
    key = _defaults.get(key, key)
    if key not in known:
        raise unknown("benchmark", name, [*known, *_defaults], "rewardkit bench list")
    return known[key]


@cache
def catalogue() -> Mapping[str, Benchmark | Suite]:
    """All benchmarks by name: those of this package, then those of plug-ins.

    Raises:
        RewardKitError: a plug-in cannot be loaded.
    """
    import benchmarks.catalogue as own

    for module in pkgutil.iter_modules(own.__path__):
        importlib.import_module(f"{own.__name__}.{module.name}")
    for plugin in plugins.entry_points(ENTRY_POINT_GROUP):
        plugins.load(plugin, "benchmark plug-in")
    return dict(_known)
