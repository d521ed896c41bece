"""Results as tables on stdout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.cli.terminal import echo
from rewardkit.media.task import noun_of

if TYPE_CHECKING:
    from benchmarks.results import Result, Score


def print_results(paths: Sequence[Path], as_json: bool) -> None:
    """Prints each result: its headline and parts with 95 % confidence intervals.

    As JSON, one result is printed as its file has it, several as a list.
    """
    from benchmarks.reading import read_result

    if as_json:
        from rewardkit.records.documents import read_json

        documents = [read_json(path) for path in paths]
        shown = documents[0] if len(documents) == 1 else documents
        echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    for path in paths:
        _print(read_result(path))


def number(value: float | None, scale: float) -> str:
    """A score with the digits that suit its scale."""
    return "-" if value is None else f"{value:.2f}" if scale > 1 else f"{value:.4f}"


def _print(result: Result) -> None:
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, pad_edge=False)
    table.add_column(f"{result.benchmark.name}: {result.model.name}", no_wrap=True)
    nouns = f"{noun_of(result.benchmark.task)}s"
    for heading in ("score", "95 % interval", nouns):
        table.add_column(heading, justify="right", no_wrap=True)
    scale = result.benchmark.scale
    for name, metric in result.metrics.items():
        table.add_row(*_row(name, metric.headline, scale))
        if name == result.benchmark.metric and len(metric.tasks) > 1:
            for task, score in metric.tasks.items():
                table.add_row(*_row(f"  {task}", score, scale))
    for name, value in result.figures.items():
        table.add_row(name, number(value, scale), "", "")
    console().print(table, markup=False)
    if not result.complete:
        what = f"shard {result.shard}" if result.shard else "incomplete"
        echo(f"{what}: {result.n_scored} of {result.n_expected} {nouns}")


def _row(name: str, score: Score, scale: float) -> tuple[str, str, str, str]:
    interval = "-"
    if score.interval is not None:
        interval = " .. ".join(number(end, scale) for end in score.interval)
    count = str(score.n) if score.n == score.expected else f"{score.n} of {score.expected}"
    return name, number(score.score, scale), interval, count
