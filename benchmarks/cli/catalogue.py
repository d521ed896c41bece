"""`rewardkit bench list` and `show`: which benchmarks there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from rewardkit.cli.terminal import echo

if TYPE_CHECKING:
    from benchmarks.benchmark import Benchmark, Suite
    from benchmarks.criteria import Criterion


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """List the benchmarks."""
    from benchmarks.benchmark import catalogue

    found = list(catalogue().values())
    if as_json:
        echo(json.dumps([_described(entry) for entry in found], indent=2))
        return
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, pad_edge=False)
    table.add_column("benchmark", no_wrap=True)
    table.add_column("scored by", no_wrap=True)
    table.add_column("what it measures", overflow="fold")
    for entry in found:
        table.add_row(entry.name, str(_described(entry).get("rewards") or "-"), entry.about)
    console().print(table, markup=False)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Show benchmark NAME: its task, prompts, rewards, criteria and known pitfalls."""
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


def _stated(criterion: Criterion) -> str:
    """A criterion in one line: what it is the mean of, and how that is normalised and weighed."""
    mean = str(criterion.reward)
    if criterion.threshold is not None:
        mean += f" > {criterion.threshold:g}"
    range_ = f"from {criterion.low:g} to {criterion.high:g}, weight {criterion.weight:g}"
    return f"{criterion.name}: {mean}, {range_}"


def _described(entry: Benchmark | Suite) -> dict[str, Any]:
    from benchmarks.benchmark import Benchmark
    from benchmarks.criteria import averaging, metric_of, with_reward
    from benchmarks.lists import LISTS
    from benchmarks.prompts import Case
    from rewardkit.media.task import kind_of, noun_of, starts_from_picture
    from rewardkit.media.writing import suffix_of

    described: dict[str, Any] = {"name": entry.name}
    if isinstance(entry, Benchmark):
        example = entry.layout.place(Case(12, ("TASK",), "PROMPT"), 3)
        nouns = f"{noun_of(entry.task)}s"
        described |= {
            "version": entry.version,
            "about": entry.about,
            "task": entry.task,
            "rewards": entry.rewards or "yours to choose: -r SPEC",
            "prompts": "its own" if entry.prompts else "yours to choose: --prompts FILE or a list",
            "samples": entry.samples,
            "headline": averaging(entry.criteria, f"{kind_of(entry.task)}s"),
            "unit": entry.unit,
            nouns: f"FOLDER/{example}{suffix_of(entry.task)}",
        }
        if metric_of(with_reward(entry.criteria, "first"), entry.total) == entry.total:
            described["headline"] = f"{entry.total}: {described['headline']}"
            described["criteria"] = "; ".join(map(_stated, entry.criteria))
        if entry.prompts is None and not starts_from_picture(entry.task):
            lists = (f"{name} ({public.about})" for name, public in LISTS.items())
            described["public lists"] = "; ".join(lists)
    else:
        parts = ", ".join(part.name for part in entry.parts())
        described |= {"about": entry.about, "runs": parts}
    return {**described, "paper": entry.paper or "-", "notes": list(entry.notes)}
