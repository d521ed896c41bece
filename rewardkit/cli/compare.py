"""`rewardkit compare`: two score tables of the same items, pair by pair."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardkit.cli.terminal import echo, shown
from rewardkit.records.comparing import Comparison, Key
from rewardkit.records.comparing import compare as compare_files
from rewardkit.records.rows import storable

if TYPE_CHECKING:
    from rewardkit.stats.clusters import PairedDifference

_TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("base", type=_TABLE)
@click.argument("other", type=_TABLE)
@click.option(
    "--on",
    type=click.Choice(["id", "path", "prompt"]),
    default="id",
    show_default=True,
    help="Column that pairs a row of BASE with one of OTHER.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, in full precision.")
def compare(base: Path, other: Path, on: Key, as_json: bool) -> None:
    """Compare two score tables of the same items: is OTHER better than BASE?

    For each reward, prints the number of pairs with both scores, the two means, and the mean of
    OTHER - BASE with its 95 % bootstrap confidence interval and a p-value. Prompts, with all their
    images, are treated as independent; rows without prompts, or all with the same prompt, are
    treated as independent rows. The last column counts the prompts won, tied and lost. With --on
    prompt, the scores of each prompt are averaged first.
    """
    found = compare_files(base, other, on)
    for warning in found.warnings:
        echo(f"Warning: {warning}", err=True)
    if as_json:
        inputs = {"base": storable(str(base)), "other": storable(str(other)), "on": on}
        echo(json.dumps({**inputs, **asdict(found)}, indent=2, allow_nan=False))
    else:
        _print(found, _headings(base, other))
    prompts = f" of {_count(found.prompts, 'prompt')}" if found.prompts and on != "prompt" else ""
    echo(
        f"{_count(found.pairs, 'pair')}{prompts}, paired on {on}; {found.rows_only_before} only in "
        f"{base}, {found.rows_only_after} only in {other}",
        err=True,
    )
    for names, path in ((found.rewards_only_before, base), (found.rewards_only_after, other)):
        if names:
            echo(f"not compared, because only {path} has it: {', '.join(names)}", err=True)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _headings(base: Path, other: Path) -> tuple[str, str]:
    """The shortest names that tell two files apart."""
    for name in ("stem", "name"):
        names = getattr(base, name), getattr(other, name)
        if names[0] != names[1]:
            return names
    return str(base), str(other)


def _print(found: Comparison, names: tuple[str, str]) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    from rewardkit.cli.tables import console

    unit = "prompts" if found.prompts == found.clusters else "pairs"
    grid = Grid(box=None, pad_edge=False)
    grid.add_column("reward", overflow="fold")
    won = f"{unit} won : tied : lost"
    headings = ("n", "null", *names, "difference", "95 % interval", "p", won)
    for heading in headings:
        grid.add_column(Text(heading), justify="right", no_wrap=True)
    for name, column in found.columns.items():
        grid.add_row(Text(shown(name)), *_cells(column.paired, found.pairs))
    console().print(grid)


def _cells(paired: PairedDifference | None, pairs: int) -> tuple[str, ...]:
    if paired is None:
        return ("0", str(pairs), *"------")
    found = paired.difference
    interval = found.interval
    return (
        str(found.items),
        str(pairs - found.items),
        f"{paired.before:.4g}",
        f"{paired.after:.4g}",
        f"{found.mean:+.4g}",
        f"{interval.low:+.4g} .. {interval.high:+.4g}" if interval else "-",
        f"{paired.p_value:.2g}",
        f"{paired.wins} : {paired.ties} : {paired.losses}",
    )
