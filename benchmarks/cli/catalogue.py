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
        echo(json.dumps([_told(one) for one in found], indent=2))
        return
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, pad_edge=False)
    table.add_column("benchmark", no_wrap=True)
    table.add_column("scored by", no_wrap=True)
    table.add_column("what it asks", overflow="fold")
    for one in found:
        table.add_row(one.name, str(_told(one).get("rewards") or "-"), one.about)
    console().print(table, markup=False)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show a benchmark: its prompts, protocol, measure and traps."""
    from benchmarks.benchmark import get

    told = _told(get(name))
    if as_json:
        echo(json.dumps(told, indent=2))
        return
    notes = told.pop("notes")
    for key, value in told.items():
        echo(f"{key.replace('_', ' '):<20} {value}")
    for note in notes:
        echo(f"- {note}")


def _told(one: Benchmark | Suite) -> dict[str, Any]:
    from benchmarks.benchmark import Benchmark, Case

    if not isinstance(one, Benchmark):
        parts = ", ".join(part.name for part in one.parts())
        told: dict[str, Any] = {"name": one.name, "about": one.about, "runs": parts}
    else:
        case = Case(12, "TASK", "PROMPT")
        told = {
            "name": one.name,
            "version": one.version,
            "about": one.about,
            "rewards": one.rewards or "yours to give: -r SPEC",
            "prompts": "its own" if one.prompts else "yours to give: --prompts FILE or a list",
            "samples": one.samples,
            "headline": {
                "tasks": "mean of the means of tasks",
                "items": "mean over all pictures",
            }[one.headline],
            "unit": one.unit,
            "pictures": f"FOLDER/{one.layout.place(case, 3)}.png",
        }
    return {**told, "paper": one.paper or "-", "notes": list(one.notes)}
