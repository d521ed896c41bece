"""The numbers that criteria make of rows, with their confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from benchmarks.criteria import (
    TOTAL,
    Criterion,
    criteria_of,
    is_mean_of_means,
    is_plain,
    metric_of,
    values_of,
)
from benchmarks.rows import ScoredSample
from rewardkit.stats.intervals import RESAMPLES

if TYPE_CHECKING:
    from rewardkit.stats.clusters import Estimate, Stratified


@final
class Number:
    """What criteria make of rows, and what its parts are."""

    def __init__(
        self,
        criteria: Sequence[Criterion],
        rows: Sequence[ScoredSample],
        scale: float,
        resamples: int,
    ) -> None:
        """Computes the number.

        Args:
            criteria: with the names of their rewards.
            rows: the pictures or clips that were scored.
            scale: what the number is multiplied by.
            resamples: of the bootstrap that makes intervals.
        """
        self.criteria = criteria
        self._rows, self._scale, self._resamples = rows, scale, resamples
        self._whole = _estimate(criteria, rows, scale, resamples)
        self._by_tag = strata_are_tags(criteria, rows)

    @property
    def headline(self) -> Estimate | None:
        """The number; None where nothing has a score."""
        return None if self._whole is None else self._whole.headline

    def part(self, criterion: Criterion) -> Estimate | None:
        """The number of one criterion alone; None where nothing has a score for it."""
        if self._whole and self._by_tag and criterion.tag in self._whole.strata:
            return self._whole.strata[criterion.tag]
        found = _estimate((criterion,), self._rows, self._scale, self._resamples)
        return None if found is None else found.headline


def numbers(
    criteria: Sequence[Criterion],
    rewards: Sequence[str],
    rows: Sequence[ScoredSample],
    scale: float,
    resamples: int = RESAMPLES,
    total: str = TOTAL,
) -> dict[str, Number]:
    """The number of each reward, by its name, after that of all criteria if they are of several.

    Args:
        criteria: of a benchmark, with the names of their rewards.
        rewards: names.
        rows: the pictures or clips that were scored.
        scale: what the numbers are multiplied by.
        resamples: of the bootstrap that makes intervals.
        total: the name of the number of all criteria.
    """
    parts = {reward: criteria_of(reward, criteria) for reward in rewards}
    if metric_of(criteria, total) == total:
        parts = {total: tuple(criteria), **parts}
    return {name: Number(own, rows, scale, resamples) for name, own in parts.items()}


def strata_are_tags(criteria: Sequence[Criterion], rows: Sequence[ScoredSample]) -> bool:
    """Whether the strata of `values_of` are the tags with their plain means.

    They are where each row counts as its score, and has one tag.
    """
    counts_as_score = is_plain(criteria) and (len(criteria) == 1 or is_mean_of_means(criteria))
    return counts_as_score and all(len(row.tags) == 1 for row in rows)


def part_of(name: str, task: str, criteria: Sequence[Criterion], *, total: bool) -> Criterion:
    """The criterion that a task of a metric is: one of the total's, else the mean of a tag."""
    if not total:
        return Criterion(name, task)
    return next(
        (criterion for criterion in criteria if criterion.name == task), Criterion(name, task)
    )


def _estimate(
    criteria: Sequence[Criterion], rows: Sequence[ScoredSample], scale: float, resamples: int
) -> Stratified[Estimate] | None:
    from rewardkit.stats.clusters import estimate

    found = values_of(criteria, rows, scale)
    if not found.values:
        return None
    return estimate(
        found.values,
        [row.prompt for row in found.scored],
        [row.stratum for row in found.scored],
        found.headline,
        resamples=resamples,
    )
