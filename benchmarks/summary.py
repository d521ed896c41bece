"""From rows to a result: means with intervals, complete or marked as not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.benchmark import Benchmark, Case, Scored
from benchmarks.results import Metric, Score


def metrics(
    benchmark: Benchmark, cases: Sequence[Case], scored: Sequence[Scored]
) -> dict[str, Metric]:
    """What each reward says of the pictures, by its name.

    Args:
        benchmark: how means are taken.
        cases: all prompts.
        scored: the pictures.
    """
    expected: dict[str, int] = {}
    for case in cases:
        expected[case.task] = expected.get(case.task, 0) + benchmark.samples
    names = list(scored[0].scores) if scored else []
    return {name: _metric(benchmark, expected, name, scored) for name in names}


def _metric(
    benchmark: Benchmark, expected: Mapping[str, int], name: str, scored: Sequence[Scored]
) -> Metric:
    from rewardkit.records.clusters import Estimate, estimate

    known = [(one, value) for one in scored if (value := one.scores[name]) is not None]
    total = sum(expected.values())
    if not known:
        nothing = {
            task: Score(score=None, interval=None, n=0, expected=n) for task, n in expected.items()
        }
        return Metric(headline=Score(score=None, interval=None, n=0, expected=total), tasks=nothing)
    found = estimate(
        [benchmark.scale * value for _, value in known],
        [one.index for one, _ in known],
        [one.task for one, _ in known],
        benchmark.headline,
    )

    def score(of: Estimate | None, n: int) -> Score:
        if of is None:
            return Score(score=None, interval=None, n=0, expected=n)
        return Score(score=of.mean, interval=of.interval, n=of.items, expected=n)

    return Metric(
        headline=score(found.headline, total),
        tasks={task: score(found.strata.get(task), n) for task, n in expected.items()},
    )
