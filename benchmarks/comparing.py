"""Two results of one benchmark, pair by pair: is the second model better, and how sure is that?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, final

from benchmarks.criteria import Criterion, applies, criteria_of, values_of
from benchmarks.numbers import part_of, strata_are_tags
from benchmarks.reading import read_result, read_table
from benchmarks.results import Result
from benchmarks.rows import ScoredSample, scored
from benchmarks.trained import rewards_in, spec_of
from benchmarks.trust import contradiction
from rewardkit.errors import InputError
from rewardkit.media.task import noun_of
from rewardkit.records.differences import differences, first_difference
from rewardkit.records.frames import frame

if TYPE_CHECKING:
    import pandas as pd

    from rewardkit.stats.clusters import PairedDifference, Stratified

Pair = tuple[ScoredSample, ScoredSample]


@final
@dataclass(frozen=True)
class ResultComparison:
    """What changed between two results.

    Attributes:
        base: the first result.
        other: the second result.
        pairs: how many pictures or clips both have.
        left_out: how many only one of them has, or lack a score.
        metrics: the change of each number that both have, times the benchmark's scale.
        warnings: what else differs between them, one line each.
    """

    base: Result
    other: Result
    pairs: int
    left_out: int
    metrics: dict[str, Stratified[PairedDifference]]
    warnings: Sequence[str]

    def frame(self) -> pd.DataFrame:
        """One row per number, and below it one per part of it: means, difference and interval.

        Raises:
            MissingPackage: the extra `pandas` is not installed.
        """
        return frame(
            {"metric": name, "part": part, **difference.record()}
            for name, metric in self.metrics.items()
            for part, difference in (("all", metric.headline), *metric.strata.items())
        ).set_index(["metric", "part"])


def compare_results(base: Path, other: Path) -> ResultComparison:
    """Compares two results over the pictures or clips, by prompt and sample, that both have.

    Raises:
        InputError: they are not of one benchmark and one list of prompts, have nothing in common,
            or cannot be read.
    """
    first, second = read_result(base), read_result(other)
    _check_same_measure(first, second, base, other)
    before, after = _rows(first, base), _rows(second, other)
    nouns = f"{noun_of(first.benchmark.task)}s"
    both = [place for place in before if place in after]
    if not both:
        raise InputError(f"{base} and {other} share no {nouns}: there is nothing to compare")
    pairs = [(before[place], after[place]) for place in both]
    metrics = {name: change for name in first.metrics if (change := _change(first, name, pairs))}
    if not metrics:
        raise InputError(f"{base} and {other} share no {nouns} that have a score in both")
    lacking = 0
    for name in first.metrics:
        own = _concerned(first, name, pairs)
        lacking = max(lacking, len(own) - len(_known(_criteria(first, name), own)))
    left_out = len(before.keys() | after.keys()) - len(both) + lacking
    return ResultComparison(first, second, len(both), left_out, metrics, _warnings(first, second))


def _check_same_measure(first: Result, second: Result, base: Path, other: Path) -> None:
    different = first_difference(first.measure(), second.measure())
    if different is not None:
        raise InputError(
            f"{base} and {other} do not measure the same: {different.key} is {different.before} "
            f"and {different.after}. Run one of them again like the other"
        )


def _rows(result: Result, path: Path) -> dict[str, ScoredSample]:
    """The rows of a result by id, which must give its numbers."""
    table = read_table(result, path)
    doubt = contradiction(result, table)
    if doubt is not None:
        raise InputError(f"{path} cannot be trusted: {doubt}. Run `rewardkit bench score` again")
    return dict(zip((row.id for row in table.rows), scored(table), strict=True))


def _criteria(result: Result, metric: str) -> tuple[Criterion, ...]:
    own = result.benchmark.own_criteria()
    return own if result.benchmark.is_total(metric) else criteria_of(metric, own)


def _concerned(result: Result, metric: str, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that a metric is about."""
    info = result.benchmark
    own, of_all = info.own_criteria(), info.is_total(metric)
    return [pair for pair in pairs if of_all or applies(metric, pair[0].tags, own)]


def _known(criteria: Sequence[Criterion], pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs that lack no score for a criterion that is about them."""
    return [
        pair
        for pair in pairs
        if not any(
            row.scores.get(criterion.reward or "") is None
            for criterion in criteria
            if criterion.covers(pair[0].tags)
            for row in pair
        )
    ]


def _change(
    result: Result, metric: str, pairs: Sequence[Pair]
) -> Stratified[PairedDifference] | None:
    """How a metric and its tasks changed; None where no pair has a score for it."""
    criteria, pairs = _criteria(result, metric), _concerned(result, metric, pairs)
    whole = _paired(criteria, pairs, result.benchmark.scale)
    if whole is None or strata_are_tags(criteria, [before for before, _ in pairs]):
        return whole
    info = result.benchmark
    own, total = info.own_criteria(), info.is_total(metric)
    parts = {
        task: _paired((part_of(metric, task, own, total=total),), pairs, info.scale)
        for task in result.metrics[metric].tasks
    }
    return replace(
        whole, strata={task: part.headline for task, part in parts.items() if part is not None}
    )


def _paired(
    criteria: Sequence[Criterion], pairs: Sequence[Pair], scale: float
) -> Stratified[PairedDifference] | None:
    from rewardkit.stats.clusters import compare

    known = _known(criteria, pairs)
    before, after = (values_of(criteria, [pair[i] for pair in known], scale) for i in (0, 1))
    if not before.values:
        return None
    return compare(
        before.values,
        after.values,
        [row.prompt for row in before.scored],
        [row.stratum for row in before.scored],
        before.headline,
    )


def _warnings(first: Result, second: Result) -> list[str]:
    """What makes the difference of two results another than that of their models."""
    noun = noun_of(first.benchmark.task)
    warnings = []
    for result in (first, second):
        if not result.complete:
            warnings.append(
                f"{result.model.name} is incomplete: {result.n_scored} of {result.n_expected} "
                f"{noun}s"
            )
    # The size of batches changes the last bits only.
    before, after = (
        result.protocol.model_dump(mode="json", exclude={"batch"}) for result in (first, second)
    )
    changes = list(differences(before, after))
    if any(change.key == "scheduler.class" for change in changes):
        # The other settings of a scheduler belong to its class.
        changes = [
            change
            for change in changes
            if not change.key.startswith("scheduler.") or change.key == "scheduler.class"
        ]
    if changes:
        warnings.append(
            f"the {noun}s were made with different settings: "
            + "; ".join(
                f"{change.key} is {change.before} of {first.model.name} and {change.after} of "
                f"{second.model.name}"
                for change in changes
            )
        )
    measuring = {
        first.benchmark.metric,
        *(criterion.reward for criterion in first.benchmark.criteria),
    }
    for result in (first, second):
        for reward in rewards_in(spec_of(result.model.trained_on)):
            if reward in measuring:
                warnings.append(
                    f"{result.model.name} was trained on {reward}, which measures it here: see how "
                    "other rewards changed"
                )
    return warnings
