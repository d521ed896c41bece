"""`rewardkit generate`: prompts in, a folder of pictures or clips and its manifest out."""

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
    help="Folder to write; an interrupted run is resumed there.",
)  # fmt: skip
@click.option("--prompt-column", metavar="NAME", help="Column with the prompts.")
@click.option("--first", type=click.IntRange(1), metavar="N", help="Only the first N prompts.")
@click.option(
    "--samples", type=click.IntRange(1), default=1, show_default=True,
    help="Number of pictures or clips per prompt.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@click.option("--steps", type=int, help="Number of inference steps.  [default: the model's]")
@click.option("--guidance", type=float, help="Guidance scale.  [default: the model's]")
@click.option(
    "--true-guidance", type=float, metavar="SCALE",
    help="True classifier-free guidance scale, of models that have another --guidance (FLUX.1) or "
    "none (Qwen-Image).  [default: the model's]",
)  # fmt: skip
@click.option(
    "--negative-prompt", metavar="TEXT", help="Text to guide away from.  [default: the model's]"
)
@click.option("--width", type=int, help="Width in pixels.  [default: the model's]")
@click.option("--height", type=int, help="Height in pixels.  [default: the model's]")
@click.option("--frames", type=int, help="Number of frames of a clip.  [default: the model's]")
@click.option("--fps", type=float, help="Frames per second of a clip.  [default: the model's]")
@click.option("--max-sequence-length", type=int, help="Tokens of a prompt.  [default: the model's]")
@click.option(
    "--lora", metavar="PATH", help="A run's folder, or a LoRA: its file, folder or owner/name."
)
@click.option("--revision", help="Commit, tag or branch of a repository on the hub.")
@device_option
@click.option("--dtype", help="Data type: float32, bfloat16, float16.  [default: the model's]")
@click.option(
    "--batch-size", type=click.IntRange(1), default=4, show_default=True,
    help="Number of pictures or clips made at once.",
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
    true_guidance: float | None,
    negative_prompt: str | None,
    width: int | None,
    height: int | None,
    frames: int | None,
    fps: float | None,
    max_sequence_length: int | None,
    lora: str | None,
    revision: str | None,
    device: str,
    dtype: str | None,
    batch_size: int,
) -> None:
    """Make pictures or clips with MODEL: a name, owner/name on the hub, or a folder.

    `rewardkit pipelines` lists the names.
    The manifest in DIR is what `rewardkit score` takes.
    """
    from rich.progress import Progress

    from rewardkit.generators.gallery import make_gallery
    from rewardkit.generators.pipelines import load
    from rewardkit.media.prompts import read

    lines = read(prompts, prompt_column)[:first]
    pipeline = load(model, device=device, dtype=dtype, revision=revision, lora=lora)
    options: dict[str, float | str | None] = {
        "steps": steps,
        "guidance": guidance,
        "true_guidance": true_guidance,
        "negative_prompt": negative_prompt,
        "width": width,
        "height": height,
        "frames": frames,
        "fps": fps,
        "max_sequence_length": max_sequence_length,
    }
    changes = {name: value for name, value in options.items() if value is not None}
    stderr = console(sys.stderr)
    with Progress(console=stderr, disable=not stderr.is_terminal) as progress:
        task = progress.add_task("generating", total=len(lines) * samples)
        manifest = make_gallery(
            pipeline,
            lines,
            out,
            samples=samples,
            seed=seed,
            protocol=pipeline.protocol.changed(changes),
            batch_size=batch_size,
            on_medium=lambda done, total: progress.update(task, completed=done),
        )
    echo(str(manifest))
