"""`rewardkit bench compare`: two results of one benchmark, pair by pair."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardkit.cli.terminal import echo

if TYPE_CHECKING:
    from benchmarks.comparing import Comparison
    from rewardkit.stats.clusters import Difference

_RESULT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("base", type=_RESULT)
@click.argument("other", type=_RESULT)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, in full precision.")
def compare(base: Path, other: Path, as_json: bool) -> None:
    """Compare two results of one benchmark: is OTHER better than BASE?

    Pictures of one prompt and seed are paired; intervals and p-values take prompts, with all their
    pictures, as independent. If a difference is not significant, the smallest difference that this
    number of prompts can show is printed.
    """
    from benchmarks.comparing import compare_results

    found = compare_results(base, other)
    if as_json:
        told = {
            "base": found.base.model.name,
            "other": found.other.model.name,
            "pictures": found.pictures,
            "left_out": found.left_out,
            "metrics": {name: asdict(one) for name, one in found.metrics.items()},
            "warnings": list(found.warnings),
        }
        echo(json.dumps(told, indent=2, allow_nan=False))
        return
    print_comparison(found)


def print_comparison(found: Comparison) -> None:
    """A row per reward, and one per task of the benchmark's own."""
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
    for name, one in found.metrics.items():
        table.add_row(*_row(name, one.headline, scale))
        if name == found.base.benchmark.metric and len(one.strata) > 1:
            for task in found.base.tasks:
                if task in one.strata:
                    table.add_row(*_row(f"  {task}", one.strata[task], scale))
    console().print(table, markup=False)
    if found.left_out:
        echo(f"{found.left_out} pictures are in one result alone, or lack a score", err=True)
    main = found.metrics.get(found.base.benchmark.metric)
    if main is not None and main.headline.p_value >= 0.05:
        echo(_not_separable(main.headline, scale))


def _row(name: str, one: Difference, scale: float) -> tuple[str, ...]:
    from benchmarks.cli.tables import number

    interval = one.difference.interval
    ends = " .. ".join(_signed(end, scale) for end in interval) if interval else "-"
    return (
        name,
        number(one.before, scale),
        number(one.after, scale),
        _signed(one.difference.mean, scale),
        ends,
        f"{one.p_value:.2g}",
        f"{one.wins} : {one.ties} : {one.losses}",
    )


def _signed(value: float, scale: float) -> str:
    return f"{value:+.2f}" if scale > 1 else f"{value:+.4f}"


def _not_separable(one: Difference, scale: float) -> str:
    told = "not separable: the difference may be chance"
    if one.detectable is None:
        return told
    digits = f"{one.detectable:.2f}" if scale > 1 else f"{one.detectable:.3f}"
    return (
        f"{told}. So many prompts show a true difference of {digits} four times in five, and "
        "smaller ones less often"
    )
