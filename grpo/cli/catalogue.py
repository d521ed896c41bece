"""`grpo methods` and `grpo recipes`: the available training methods and recipes."""

from __future__ import annotations

import json
import re
from textwrap import indent, wrap
from typing import TYPE_CHECKING

import click

from rewardkit.cli.terminal import echo
from rewardkit.errors import InputError
from rewardkit.media.files import quoted
from rewardkit.records.documents import parse_toml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grpo.config.layers import Layer


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def methods(name: str | None, as_json: bool) -> None:
    """List the methods, or print the page of method NAME: formula, code, symptoms and cures.

    The page is followed by the method's settings with the source of each number. All of it is TOML:
    it can be saved as mine.toml, edited, and run with `grpo train --method mine.toml`.
    """
    from grpo.config.layers import layer, layers

    found = layers("method") if name is None else [layer("method", name)]
    if as_json:
        shown = [_summary(method) for method in found]
        echo(json.dumps(shown if name is None else shown[0], indent=2))
    elif name is None:
        keys = ("objective.kind", "sampler.rule")
        rows = [
            (*_cells(method, keys), method.header.source, method.header.about) for method in found
        ]
        _print(("method", "objective", "sampler", "source", "description"), rows)
    else:
        echo(_page(found[0]), nl=False)


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes, or print recipe NAME: every setting with its meaning and its origin.

    The printed recipe can be saved as mine.toml, edited, and run with `grpo train --recipe
    mine.toml`. A file with the line extends = "NAME" needs only the settings that differ.
    """
    from grpo.config.layers import layer, layers
    from grpo.config.merge import merge
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
        echo(json.dumps([_summary(recipe) for recipe in found], indent=2))
        return
    keys = ("model", "method", "reward")
    rows = [(*_cells(recipe, keys), recipe.header.about) for recipe in found]
    _print(("recipe", "model", "method", "reward", "description"), rows)


def _page(method: Layer) -> str:
    """A method's page in comments, and its file without it.

    Raises:
        InputError: settings follow the page.
    """
    header = method.header
    if header.page is None:
        return method.text.rstrip() + "\n"
    settings = re.split(r"^\[page\]", method.text, maxsplit=1, flags=re.MULTILINE)[0]
    settings = settings.rstrip() + "\n"
    table = parse_toml(method.text, method.name)
    if parse_toml(settings, method.name) != {k: v for k, v in table.items() if k != "page"}:
        raise InputError(
            f"{quoted(method.name)}: the table [page] is printed apart from the settings, and is "
            "not the last table of the file. Move it to the end"
        )
    lines = [f"{method.name}: {header.about}", f"Paper: {header.source}", "", "Formula"]
    lines += indent(header.page.formula.strip(), "  ").splitlines()
    if header.page.code:
        lines += ["", "Code"]
    width = max(map(len, header.page.code), default=0)
    lines += [f"  {name:<{width}}  {what}" for name, what in header.page.code.items()]
    if header.page.troubles:
        lines += ["", "Symptoms and cures"]
    for trouble in header.page.troubles:
        lines += wrap(trouble.symptom, 94, initial_indent="  - ", subsequent_indent="    ")
        lines += wrap(trouble.cure, 94, initial_indent="    Cure: ", subsequent_indent="    ")
        lines.append(f"    Source: {trouble.source}")
    lines += ["", "Settings, with the source of each number"]
    return "".join(f"# {line}".rstrip() + "\n" for line in lines) + "\n" + settings


def _summary(layer: Layer) -> dict[str, object]:
    header = layer.header.model_dump(exclude_unset=True)
    return {"name": layer.name, **header, "settings": dict(layer.settings)}


def _cells(layer: Layer, keys: Sequence[str]) -> list[str]:
    return [layer.name, *(str(layer.settings.get(key, "-")) for key in keys)]


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
