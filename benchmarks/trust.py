"""Whether a result says what its rows say: it may have been edited, or its rows exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.numbers import numbers, part_of
from benchmarks.results import Result, Score
from benchmarks.rows import scored
from rewardkit.records.rows import Table

if TYPE_CHECKING:
    from rewardkit.stats.clusters import Estimate

Ends = tuple[float, float]

# Rows are float32; another version may sum them in another order.
_TOLERANCE = 1e-5
# The ends of intervals are resampled: with 500 resamples they are off by about 3 % of the width.
_RESAMPLES = 500
_WIDTHS = 0.25


def contradiction(result: Result, table: Table) -> str | None:
    """What a result says and its rows do not, in a few words; None where they agree.

    The headline and the tasks of each metric are computed again. Intervals are compared for the
    headline, and coarsely, because another version of numpy may draw other resamples.

    Raises:
        InputError: the id of a row is not that of a benchmark.
    """
    info = result.benchmark
    criteria = info.own_criteria()
    rows = scored(table)
    found = numbers(criteria, table.rewards, rows, info.scale, _RESAMPLES, total=info.metric)
    for name, metric in result.metrics.items():
        number = found.get(name)
        headline = number and number.headline
        count = headline.items if headline else 0
        if number is None or count != metric.headline.n:
            return f"{count} rows have {name}, and the result counts {metric.headline.n}"
        if headline is None:
            continue
        said: dict[str, tuple[Score, Estimate | None]] = {name: (metric.headline, headline)}
        for task, score in metric.tasks.items():
            part = part_of(name, task, criteria, total=info.is_total(name))
            said[f"{name} of {task}"] = (score, number.part(part))
        for what, (score, estimate) in said.items():
            if not _same(score, estimate):
                rows_give = "nothing" if estimate is None else f"{estimate.mean:.4g}"
                says = "nothing" if score.score is None else f"{score.score:.4g}"
                return f"its rows give {rows_give} for {what}, and it says {says}"
        if not _alike(metric.headline.interval, headline.interval):
            return f"its rows give {_ends(headline.interval)} for {name}, and it says " + _ends(
                metric.headline.interval
            )
    return None


def _same(score: Score, estimate: Estimate | None) -> bool:
    if estimate is None or score.score is None:
        return estimate is None and score.score is None and score.n == 0
    near = abs(estimate.mean - score.score) <= _TOLERANCE * max(1.0, abs(estimate.mean))
    return near and estimate.items == score.n


def _alike(said: Ends | None, found: Ends | None) -> bool:
    if said is None or found is None:
        return said is found
    slack = _WIDTHS * (found[1] - found[0]) + _TOLERANCE * max(1.0, *map(abs, found))
    return all(abs(end - other) <= slack for end, other in zip(said, found, strict=True))


def _ends(ends: Ends | None) -> str:
    return "no interval" if ends is None else f"the interval {ends[0]:.4g} .. {ends[1]:.4g}"
