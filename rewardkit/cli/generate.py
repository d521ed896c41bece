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
    help="Output folder; the same command resumes an interrupted run.",
)  # fmt: skip
@click.option("--prompt-column", metavar="NAME", help="Column with the prompts.")
@click.option("--first", type=click.IntRange(1), metavar="N", help="Use only the first N prompts.")
@click.option(
    "--samples", type=click.IntRange(1), default=1, show_default=True,
    help="Number of images or videos per prompt.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed.")
@click.option("--steps", type=int, help="Number of inference steps.  [default: the model's]")
@click.option("--guidance", type=float, help="Guidance scale.  [default: the model's]")
@click.option(
    "--true-guidance", type=float, metavar="SCALE",
    help="Scale of true classifier-free guidance (true_cfg_scale), for models such as FLUX.1 and "
    "Qwen-Image.  [default: the model's]",
)  # fmt: skip
@click.option("--negative-prompt", metavar="TEXT", help="Negative prompt.  [default: the model's]")
@click.option("--width", type=int, help="Width in pixels.  [default: the model's]")
@click.option("--height", type=int, help="Height in pixels.  [default: the model's]")
@click.option("--frames", type=int, help="Number of frames per video.  [default: the model's]")
@click.option("--fps", type=float, help="Frames per second of the video.  [default: the model's]")
@click.option(
    "--max-sequence-length",
    type=int,
    help="Maximum number of prompt tokens.  [default: the model's]",
)
@click.option(
    "--tuned",
    metavar="PATH",
    help="Tuned weights of MODEL: run folder, LoRA file or folder, or "
    "OWNER/NAME[@REVISION][:FILE].",
)
@click.option("--revision", help="Commit, tag or branch on the Hub.")
@device_option
@click.option(
    "--dtype", help="Data type of the model: float32, bfloat16, float16.  [default: the model's]"
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=4, show_default=True,
    help="Number of images or videos generated at once.",
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
    tuned: str | None,
    revision: str | None,
    device: str,
    dtype: str | None,
    batch_size: int,
) -> None:
    """Generate images or videos with MODEL: a name, owner/name on the Hub, or a folder.

    `rewardkit pipelines` lists the names. `rewardkit score` takes the manifest that is written to
    DIR. Image-to-video models start from the picture that each prompt names under the key `image`,
    a path relative to the prompt file.
    """
    from rich.progress import Progress

    from rewardkit.generators.gallery import make_gallery
    from rewardkit.generators.pipelines import load
    from rewardkit.media.prompts import read

    lines = read(prompts, prompt_column)[:first]
    pipeline = load(model, device=device, dtype=dtype, revision=revision, tuned=tuned)
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
