"""`rewardkit bench convert-geneval-detector`: upstream's checkpoint, as transformers reads it."""

from __future__ import annotations

from pathlib import Path

import click

from rewardkit.cli.terminal import echo


@click.command("convert-geneval-detector")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def convert(checkpoint: Path) -> None:
    """Convert GenEval's detector, the mmdetection file CHECKPOINT, for use with transformers.

    The path of the converted file is printed. Rewards find the file there.
    """
    from rewardkit.geneval.convert import convert as convert_file

    echo(str(convert_file(checkpoint)))
