"""`grpo methods` and `grpo recipes`: what there is to train with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from rewardkit.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grpo.config.layers import Layer


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def methods(name: str | None, as_json: bool) -> None:
    """List the methods, or print the file of one with the source of each number."""
    from grpo.config.layers import layer, layers

    found = layers("method") if name is None else [layer("method", name)]
    if as_json:
        shown = [_shown(one) for one in found]
        echo(json.dumps(shown if name is None else shown[0], indent=2))
    elif name is None:
        keys = ("objective.kind", "sampler.rule")
        rows = [(*_cells(one, keys), one.header.source, one.header.about) for one in found]
        _print(("method", "objective", "sampler", "source", "what it is"), rows)
    else:
        echo(found[0].text, nl=False)


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes, or print one whole: every setting, what it means and who decided it.

    What is printed can be saved as mine.toml, changed, and run by `grpo train --recipe mine.toml`.
    A file with the line extends = "NAME" needs only the settings that differ.
    """
    from grpo.config.layers import layer, layers
    from grpo.config.resolve import merge
    from grpo.config.settings import as_toml

    if name is not None:
        merged = merge(layer("recipe", name), None, {})
        if as_json:
            echo(json.dumps({"settings": merged.values, "origins": merged.origins}, indent=2))
        else:
            echo(as_toml(merged.values, merged.origins))
        return
    found = layers("recipe")
    if as_json:
        echo(json.dumps([_shown(one) for one in found], indent=2))
        return
    rows = [(*_cells(one, ("model", "method", "reward")), one.header.about) for one in found]
    _print(("recipe", "model", "method", "reward", "what it is"), rows)


def _shown(one: Layer) -> dict[str, object]:
    told = one.header.model_dump(exclude_unset=True)
    return {"name": one.name, **told, "settings": dict(one.settings)}


def _cells(one: Layer, keys: Sequence[str]) -> list[str]:
    return [one.name, *(str(one.settings.get(key, "-")) for key in keys)]


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table, markup=False)
