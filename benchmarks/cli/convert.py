"""`rewardkit bench convert-geneval-detector`: upstream's checkpoint, as transformers reads it."""

from __future__ import annotations

from pathlib import Path

import click

from rewardkit.cli.terminal import echo


@click.command("convert-geneval-detector")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def convert(checkpoint: Path) -> None:
    """Convert the detector that GenEval uses, CHECKPOINT.pth of mmdetection, once and for all.

    The path of the converted file is printed; rewards find it there.
    """
    from rewardkit.geneval.convert import convert as convert_file

    echo(str(convert_file(checkpoint)))
