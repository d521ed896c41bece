"""`rewardkit bench compare`: two results of one benchmark, pair by pair."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardkit.cli.terminal import echo
from rewardkit.media.task import noun_of

if TYPE_CHECKING:
    from benchmarks.comparing import ResultComparison
    from rewardkit.stats.clusters import PairedDifference

_RESULT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("base", type=_RESULT)
@click.argument("other", type=_RESULT)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, in full precision.")
def compare(base: Path, other: Path, as_json: bool) -> None:
    """Compare two results of one benchmark: is OTHER better than BASE?

    Samples with the same prompt and seed are paired. Confidence intervals and p-values treat
    prompts, with all their samples, as independent. If a difference is not significant, the
    smallest difference that this number of prompts can detect is printed.
    """
    from benchmarks.comparing import compare_results

    found = compare_results(base, other)
    if as_json:
        document = {
            "base": found.base.model.name,
            "other": found.other.model.name,
            f"{noun_of(found.base.benchmark.task)}s": found.pairs,
            "left_out": found.left_out,
            "metrics": {name: asdict(change) for name, change in found.metrics.items()},
            "warnings": list(found.warnings),
        }
        echo(json.dumps(document, indent=2, allow_nan=False))
        return
    print_comparison(found)


def print_comparison(found: ResultComparison) -> None:
    """Prints a row per metric, and one per task of the benchmark's own."""
    from rich.table import Table

    from rewardkit.cli.tables import console

    for warning in found.warnings:
        echo(f"Warning: {warning}", err=True)
    table = Table(box=None, pad_edge=False)
    table.add_column(found.base.benchmark.name, no_wrap=True)
    headings = (
        found.base.model.name, found.other.model.name, "difference", "95 % interval", "p",
        "prompts won : tied : lost",
    )  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    scale = found.base.benchmark.scale
    for name, change in found.metrics.items():
        table.add_row(*_row(name, change.headline, scale))
        if name == found.base.benchmark.metric and len(change.strata) > 1:
            for task in found.base.tasks:
                if task in change.strata:
                    table.add_row(*_row(f"  {task}", change.strata[task], scale))
    console().print(table, markup=False)
    if found.left_out:
        noun = noun_of(found.base.benchmark.task)
        echo(f"{found.left_out} {noun}s are only in one result, or lack a score", err=True)
    main = found.metrics.get(found.base.benchmark.metric)
    if main is not None and main.headline.p_value >= 0.05:
        echo(_not_separable(main.headline, scale))


def _row(name: str, change: PairedDifference, scale: float) -> tuple[str, ...]:
    from benchmarks.cli.tables import number

    interval = change.difference.interval
    ends = " .. ".join(_signed(end, scale) for end in interval) if interval else "-"
    return (
        name,
        number(change.before, scale),
        number(change.after, scale),
        _signed(change.difference.mean, scale),
        ends,
        f"{change.p_value:.2g}",
        f"{change.wins} : {change.ties} : {change.losses}",
    )


def _signed(value: float, scale: float) -> str:
    return f"{value:+.2f}" if scale > 1 else f"{value:+.4f}"


def _not_separable(change: PairedDifference, scale: float) -> str:
    verdict = "not separable: the difference may be chance"
    if change.detectable is None:
        return verdict
    digits = f"{change.detectable:.2f}" if scale > 1 else f"{change.detectable:.3f}"
    return (
        f"{verdict}. This number of prompts shows a true difference of {digits} four times in "
        "five, and smaller ones less often"
    )
