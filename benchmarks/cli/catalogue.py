"""`rewardkit bench list` and `show`: which benchmarks there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from rewardkit.cli.terminal import echo

if TYPE_CHECKING:
    from benchmarks.benchmark import Benchmark, Suite


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """List the benchmarks."""
    from benchmarks.benchmark import catalogue

    found = list(catalogue().values())
    if as_json:
        echo(json.dumps([_described(one) for one in found], indent=2))
        return
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, pad_edge=False)
    table.add_column("benchmark", no_wrap=True)
    table.add_column("scored by", no_wrap=True)
    table.add_column("what it measures", overflow="fold")
    for one in found:
        table.add_row(one.name, str(_described(one).get("rewards") or "-"), one.about)
    console().print(table, markup=False)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show a benchmark: its task, prompts, rewards, criteria and traps."""
    from benchmarks.benchmark import get

    described = _described(get(name))
    if as_json:
        echo(json.dumps(described, indent=2))
        return
    notes = described.pop("notes")
    for key, value in described.items():
        echo(f"{key.replace('_', ' '):<20} {value}")
    for note in notes:
        echo(f"- {note}")


def _described(one: Benchmark | Suite) -> dict[str, Any]:
    from benchmarks.benchmark import Benchmark
    from benchmarks.criteria import averaging
    from benchmarks.prompts import Case
    from rewardkit.media.task import noun_of
    from rewardkit.media.writing import suffix_of

    described: dict[str, Any] = {"name": one.name}
    if isinstance(one, Benchmark):
        example = one.layout.place(Case(12, ("TASK",), "PROMPT"), 3)
        nouns = f"{noun_of(one.task)}s"
        described |= {
            "version": one.version,
            "about": one.about,
            "task": one.task,
            "rewards": one.rewards or "yours to choose: -r SPEC",
            "prompts": "its own" if one.prompts else "yours to choose: --prompts FILE or a list",
            "samples": one.samples,
            "headline": averaging(one.criteria, nouns),
            "unit": one.unit,
            nouns: f"FOLDER/{example}{suffix_of(one.task)}",
        }
    else:
        parts = ", ".join(part.name for part in one.parts())
        described |= {"about": one.about, "runs": parts}
    return {**described, "paper": one.paper or "-", "notes": list(one.notes)}
