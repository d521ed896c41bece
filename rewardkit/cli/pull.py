"""`rewardkit pull`: the weights of rewards, for machines without a network."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from rewardkit.cli.terminal import echo
from rewardkit.errors import WeightsError


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Copy the files to DIR too; set REWARDKIT_WEIGHTS=DIR on the other machine.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pull(names: tuple[str, ...], folder: Path | None, as_json: bool) -> None:
    """Download the weights of rewards for use without a network.

    Files are downloaded to the Hub's cache, and their revisions and checksums are recorded; a
    checkpoint of several files is a folder. Weights from an installed package are listed, not
    copied. If some weights cannot be downloaded, they are named and the exit code is 1.
    """
    from rewardkit.engine.registry import entry
    from rewardkit.weights.pull import pull as pull_file

    cards = [entry(name).card for name in names]
    pulled, failures = [], []
    for weights in dict.fromkeys(file for card in cards for file in card.all_weights):
        try:
            pulled.append(pull_file(weights, folder))
        except WeightsError as error:
            failures.append(str(error))
    if as_json:
        files = [asdict(weights) | {"path": str(weights.path)} for weights in pulled]
        echo(json.dumps(files, indent=2))
    elif pulled:
        from rich.table import Table

        from rewardkit.cli.tables import console

        table = Table("name", "file", "size", "revision", "sha256", box=None, pad_edge=False)
        for file in pulled:
            size = f"{file.size / 1e6:,.1f} MB"
            table.add_row(file.name, str(file.path), size, file.revision or "-", file.sha256)
        console().print(table, markup=False)
    for card in cards:
        if not card.all_weights:
            echo(f"{card.name} needs no weights", err=True)
    for failure in failures:
        echo(f"Error: {failure}", err=True)
    if failures:
        click.get_current_context().exit(1)
