"""From rows to a result: means with intervals, complete or marked as not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.benchmark import Benchmark, Case, PromptSet, Scored
from benchmarks.results import BenchmarkInfo, Metric, PromptInfo, Result, Score, scored
from rewardkit.records.provenance import now
from rewardkit.records.rows import Table


def sum_up(
    benchmark: Benchmark, prompts: PromptSet, table: Table, *, shard: str | None, **known: Any
) -> Result:
    """The result that rows amount to.

    Args:
        benchmark: which.
        prompts: all of it.
        table: a row per picture.
        shard: which one, where the rows are not of the whole.
        known: the other fields of a result.
    """
    pictures = scored(table)
    found = metrics(benchmark, prompts.cases, pictures)
    metric = table.rewards[0]
    headline = found[metric].headline
    whole = [one for one in pictures if all(value is not None for value in one.scores.values())]
    expected = len(prompts.cases) * benchmark.samples
    return Result(
        score=headline.score,
        interval=headline.interval,
        complete=len(whole) == expected,
        n_expected=expected,
        n_scored=len(whole),
        shard=shard,
        benchmark=BenchmarkInfo(
            name=benchmark.name,
            version=benchmark.version,
            task="text-to-image",
            metric=metric,
            headline=benchmark.headline,
            unit=benchmark.unit,
            scale=benchmark.scale,
        ),
        metrics=found,
        figures=benchmark.figures(whole) if whole else {},
        prompts=PromptInfo(source=prompts.source, sha256=prompts.sha256, number=len(prompts.cases)),
        created=now(),
        **known,
    )


def metrics(
    benchmark: Benchmark, cases: Sequence[Case], pictures: Sequence[Scored]
) -> dict[str, Metric]:
    """What each reward says of the pictures, by its name.

    Args:
        benchmark: how means are taken.
        cases: all prompts.
        pictures: what came of each.
    """
    expected: dict[str, int] = {}
    for case in cases:
        expected[case.task] = expected.get(case.task, 0) + benchmark.samples
    names = list(pictures[0].scores) if pictures else []
    return {name: _metric(benchmark, expected, name, pictures) for name in names}


def _metric(
    benchmark: Benchmark, expected: Mapping[str, int], name: str, pictures: Sequence[Scored]
) -> Metric:
    from rewardkit.stats.clusters import Estimate, estimate

    known = [(one, value) for one in pictures if (value := one.scores[name]) is not None]
    total = sum(expected.values())
    if not known:
        nothing = {
            task: Score(score=None, interval=None, n=0, expected=n) for task, n in expected.items()
        }
        return Metric(headline=Score(score=None, interval=None, n=0, expected=total), tasks=nothing)
    found = estimate(
        [benchmark.scale * value for _, value in known],
        [one.prompt for one, _ in known],
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
