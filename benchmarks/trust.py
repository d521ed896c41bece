"""Whether a result says what its rows say: its numbers may be edited, or its rows another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from benchmarks.results import Result, Score, place

if TYPE_CHECKING:
    from rewardkit.stats.clusters import Estimate

Ends = tuple[float, float]

# Rows are float32, summed in another order by another version at most.
_TOLERANCE = 1e-5
# Ends of intervals are resampled: of 500 resamples one is off by about 3 % of the width.
_RESAMPLES = 500
_WIDTHS = 0.25


def contradiction(
    result: Result, scores: Mapping[str, Mapping[str, float | None]], cluster: Mapping[str, int]
) -> str | None:
    """What a result says that its rows do not, in a few words; None where they agree.

    Each reward's headline and tasks are computed anew. Intervals are compared for the headline,
    and coarsely: another version of numpy may draw other resamples.

    Args:
        result: what the file says.
        scores: by the id of a picture, its score by reward, not scaled: what the rows say.
        cluster: by the id of a picture, its prompt, of `benchmarks.results.clusters`.
    """
    from rewardkit.stats.clusters import estimate

    places = {id: place(id) for id in scores}
    for name, metric in result.metrics.items():
        known = {id: of[name] for id, of in scores.items() if of.get(name) is not None}
        if len(known) != metric.headline.n:
            return f"{len(known)} rows have {name}, and the result counts {metric.headline.n}"
        if not known:
            continue
        found = estimate(
            [result.benchmark.scale * (value or 0.0) for value in known.values()],
            [cluster[id] for id in known],
            [places[id][0] for id in known],
            result.benchmark.headline,
            resamples=_RESAMPLES,
        )
        told: dict[str, tuple[Score, Estimate | None]] = {name: (metric.headline, found.headline)}
        told |= {
            f"{name} of {task}": (score, found.strata.get(task))
            for task, score in metric.tasks.items()
        }
        for what, (score, of) in told.items():
            if not _same(score, of):
                rows = "nothing" if of is None else f"{of.mean:.4g}"
                said = "nothing" if score.score is None else f"{score.score:.4g}"
                return f"its rows give {rows} for {what}, and it says {said}"
        if not _alike(metric.headline.interval, found.headline.interval):
            return (
                f"its rows give {_ends(found.headline.interval)} for {name}, and it says "
                + _ends(metric.headline.interval)
            )
    return None


def _same(score: Score, of: Estimate | None) -> bool:
    if of is None or score.score is None:
        return of is None and score.score is None and score.n == 0
    near = abs(of.mean - score.score) <= _TOLERANCE * max(1.0, abs(of.mean))
    return near and of.items == score.n


def _alike(told: Ends | None, found: Ends | None) -> bool:
    if told is None or found is None:
        return told is found
    slack = _WIDTHS * (found[1] - found[0]) + _TOLERANCE * max(1.0, *map(abs, found))
    return all(abs(one - other) <= slack for one, other in zip(told, found, strict=True))


def _ends(ends: Ends | None) -> str:
    return "no interval" if ends is None else f"the interval {ends[0]:.4g} .. {ends[1]:.4g}"
