"""`python -m rewardkit.shapes.train NAME`: trains one of the built-in checkpoints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import torch

from rewardkit.extras import require
from rewardkit.shapes.train import make


@click.command()
@click.argument("name", type=click.Choice(make.NAMES))
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Number of training steps.  [default: the recorded number]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=make.WEIGHTS,
    help="Folder of checkpoints; generators read shapes-vae from it.  [default: the package's]",
)
@click.option(
    "--run",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the training state, from which training resumes.  [default: runs/NAME]",
)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option(
    "--check", is_flag=True, help="Train the first steps and compare with the recorded loss."
)
def main(
    name: str, seed: int, steps: int | None, out: Path, run: Path | None, threads: int, check: bool
) -> None:
    """Train NAME, evaluate it on held-out prompts, and write it with its card."""
    require("generate", "training the built-in models")
    torch.set_num_threads(threads)

    def say(line: str) -> None:
        click.echo(line, err=True)

    if check:
        sys.exit(make.check(name, out, say))
    card = make.make(name, seed, steps, out, run or Path("runs", name), say)
    click.echo(json.dumps(card["reached"], indent=2))


if __name__ == "__main__":
    main()
