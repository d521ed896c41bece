"""`grpo sample`: media before and after a training run."""

from __future__ import annotations

from pathlib import Path

import click

from rewardkit.cli.options import device_option
from rewardkit.cli.terminal import echo


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-p",
    "--prompts",
    metavar="FILE",
    help="File with prompts.  [default: the prompts of the held-out evaluation]",
)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1),
    help="Number of prompts.  [default: evaluation.sheet of the run]",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed of the noise."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Contact sheet to write, .png or .jpg.  [default: RUN/samples.png]",
)  # fmt: skip
@device_option
def sample(
    run: Path, prompts: str | None, count: int | None, seed: int, out: Path | None, device: str
) -> None:
    """Draw a contact sheet of samples before and after training, from the same initial noise.

    RUN is the folder of a run of `grpo train`. The sheet of a model of clips shows some of their
    frames; an mp4 of the same name, beside it, shows them playing.
    """
    from grpo.run import Run

    config = Run(run).read_config()
    source = prompts or config.evaluation.prompts or config.prompts
    from grpo.sample import sample as draw

    sheet = draw(
        run=run,
        prompts=source,
        out=out or run / "samples.png",
        number=count or config.evaluation.sheet,
        seed=seed,
        device=device,
    )
    echo(str(sheet))
