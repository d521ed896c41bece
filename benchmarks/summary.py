"""From rows to a result: means with confidence intervals, complete or marked as incomplete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.benchmark import Benchmark
from benchmarks.criteria import Criterion, applies, metric_of, with_reward
from benchmarks.numbers import numbers
from benchmarks.prompts import Case, PromptSet
from benchmarks.results import BenchmarkInfo, CriterionInfo, Metric, PromptInfo, Result, Score
from benchmarks.rows import ScoredSample, scored
from rewardkit.records.provenance import now
from rewardkit.records.rows import Table

if TYPE_CHECKING:
    from rewardkit.stats.clusters import Estimate


def sum_up(
    benchmark: Benchmark, prompts: PromptSet, table: Table, *, shard: str | None, **known: Any
) -> Result:
    """The result that rows amount to.

    Args:
        benchmark: what was measured.
        prompts: all of its prompts.
        table: a row per picture or clip.
        shard: the shard that the rows are of; None where they are of the whole.
        known: the other fields of a result.
    """
    first, rows = table.rewards[0], scored(table)
    criteria = with_reward(benchmark.criteria, first)
    metric = metric_of(criteria, benchmark.total)
    found = metrics(benchmark, table.rewards, prompts.cases, rows)
    whole = [
        row
        for row in rows
        if not any(
            score is None and applies(reward, row.tags, criteria)
            for reward, score in row.scores.items()
        )
    ]
    expected = len(prompts.cases) * benchmark.samples
    return Result(
        score=found[metric].headline.score,
        interval=found[metric].headline.interval,
        complete=len(whole) == expected,
        n_expected=expected,
        n_scored=len(whole),
        shard=shard,
        benchmark=BenchmarkInfo(
            name=benchmark.name,
            version=benchmark.version,
            task=benchmark.task,
            metric=metric,
            criteria=tuple(
                CriterionInfo(
                    reward=criterion.reward or first,
                    tag=criterion.tag,
                    low=criterion.low,
                    high=criterion.high,
                    weight=criterion.weight,
                    threshold=criterion.threshold,
                )
                for criterion in criteria
            ),
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
    benchmark: Benchmark,
    rewards: Sequence[str],
    cases: Sequence[Case],
    rows: Sequence[ScoredSample],
) -> dict[str, Metric]:
    """The number of each reward, by its name, after that of all criteria if they are of several.

    Args:
        benchmark: its criteria, samples and scale.
        rewards: names, the first of which stands where criteria name none.
        cases: all prompts.
        rows: the pictures or clips that were scored.
    """
    criteria = with_reward(benchmark.criteria, rewards[0])

    def score(found: Estimate | None, part: Sequence[Criterion], own: Sequence[Case]) -> Score:
        covered = sum(any(criterion.covers(case.tags) for criterion in part) for case in own)
        expected = covered * benchmark.samples
        if found is None:
            return Score(score=None, interval=None, n=0, expected=expected)
        return Score(score=found.mean, interval=found.interval, n=found.items, expected=expected)

    result = {}
    found = numbers(criteria, rewards, rows, benchmark.scale, total=benchmark.total)
    for name, number in found.items():
        of_all = name == benchmark.total
        own = [case for case in cases if of_all or applies(name, case.tags, criteria)]
        tags = dict.fromkeys(tag for case in own for tag in case.tags)
        parts = (
            {criterion.name: criterion for criterion in criteria}
            if of_all
            else {tag: Criterion(name, tag) for tag in tags}
        )
        result[name] = Metric(
            headline=score(number.headline, number.criteria, own),
            tasks={
                part: score(number.part(criterion), (criterion,), own)
                for part, criterion in parts.items()
            },
        )
    return result
