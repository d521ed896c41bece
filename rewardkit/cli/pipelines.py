"""`rewardkit pipelines`: the generators that have a name here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardkit.cli.terminal import echo

if TYPE_CHECKING:
    from rewardkit.generators.protocol import Protocol


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pipelines(as_json: bool) -> None:
    """List the named generators and their default sampling settings.

    Other pipelines of the same classes can be given as owner/name on the Hub or as a folder.
    """
    from rewardkit.generators.aliases import ALIASES
    from rewardkit.generators.families import FAMILIES
    from rewardkit.generators.protocol import carried_protocol

    listed = []
    for alias in ALIASES.values():
        place = alias.place
        protocol = carried_protocol(place) if isinstance(place, Path) else alias.protocol
        listed.append((alias, FAMILIES[alias.pipeline].task, protocol))
    if as_json:
        shown = [
            alias.model_dump() | {"task": task, "protocol": protocol and protocol.model_dump()}
            for alias, task, protocol in listed
        ]
        echo(json.dumps(shown, indent=2))
        return
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for column in ("from", "pipeline", "task", "steps", "guidance", "size", "tokens", "licence"):
        table.add_column(column, overflow="fold")
    for alias, task, protocol in listed:
        where = alias.repo or "in the package"
        table.add_row(alias.name, where, alias.pipeline, task, *_cells(protocol), alias.licence)
    console().print(table, markup=False)


def _cells(protocol: Protocol | None) -> tuple[str, ...]:
    if protocol is None:
        return ("-",) * 4
    length = protocol.max_sequence_length
    # Where guidance is classifier-free under another name, that is the one scale there is.
    guidance = protocol.true_guidance if protocol.guidance is None else protocol.guidance
    return (
        str(protocol.steps),
        "-" if guidance is None else f"{guidance:g}",
        f"{protocol.width}x{protocol.height}",
        "-" if length is None else str(length),
    )
