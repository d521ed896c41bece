"""`rewardkit generate`: prompts in, a folder of pictures and its manifest out."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rewardkit.cli.options import device_option
from rewardkit.cli.tables import console
from rewardkit.cli.terminal import echo


@click.command()
@click.argument("model")
@click.option(
    "-p", "--prompts", required=True, metavar="FILE",
    help="Prompts: .txt, .jsonl, .csv, .parquet, .json, or package:NAME/FILE.",
)  # fmt: skip
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder of the pictures; an interrupted run goes on there.",
)  # fmt: skip
@click.option("--prompt-column", metavar="NAME", help="Column with the prompts.")
@click.option("--first", type=click.IntRange(1), metavar="N", help="Only the first N prompts.")
@click.option(
    "--samples", type=click.IntRange(1), default=1, show_default=True,
    help="Number of pictures per prompt.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@click.option("--steps", type=int, help="Number of inference steps.  [default: the model's]")
@click.option("--guidance", type=float, help="Guidance scale.  [default: the model's]")
@click.option("--width", type=int, help="Width in pixels.  [default: the model's]")
@click.option("--height", type=int, help="Height in pixels.  [default: the model's]")
@click.option("--max-sequence-length", type=int, help="Tokens of a prompt.  [default: the model's]")
@click.option(
    "--lora", metavar="PATH", help="A run's folder, or a LoRA: its file, folder or owner/name."
)
@click.option("--revision", help="Commit, tag or branch of a repository on the hub.")
@device_option
@click.option("--dtype", help="Data type: float32, bfloat16, float16.  [default: the model's]")
@click.option(
    "--batch-size", type=click.IntRange(1), default=4, show_default=True,
    help="Number of pictures made at once.",
)  # fmt: skip
def generate(
    model: str,
    prompts: str,
    prompt_column: str | None,
    out: Path,
    first: int | None,
    samples: int,
    seed: int,
    steps: int | None,
    guidance: float | None,
    width: int | None,
    height: int | None,
    max_sequence_length: int | None,
    lora: str | None,
    revision: str | None,
    device: str,
    dtype: str | None,
    batch_size: int,
) -> None:
    """Make pictures with MODEL: a name `rewardkit pipelines` lists, owner/name, or a folder.

    The manifest in DIR is what `rewardkit score` takes.
    """
    from rich.progress import Progress

    from rewardkit.generators.gallery import make_gallery
    from rewardkit.generators.pipelines import load
    from rewardkit.media.prompts import read

    lines = read(prompts, prompt_column)[:first]
    pipeline = load(model, device=device, dtype=dtype, revision=revision, lora=lora)
    asked = {
        "steps": steps,
        "guidance": guidance,
        "width": width,
        "height": height,
        "max_sequence_length": max_sequence_length,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    stderr = console(sys.stderr)
    with Progress(console=stderr, disable=not stderr.is_terminal) as progress:
        task = progress.add_task("pictures", total=len(lines) * samples)
        manifest = make_gallery(
            pipeline,
            lines,
            out,
            samples=samples,
            seed=seed,
            protocol=pipeline.protocol.changed(given),
            batch_size=batch_size,
            on_picture=lambda done, total: progress.update(task, completed=done),
        )
    echo(str(manifest))
