"""The options that several commands of `rewardkit bench` share."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from rewardkit.cli.options import device_option, endpoint_options, reward_option

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[F], F]

PROMPTS = click.option(
    "-p", "--prompts", metavar="FILE",
    help="Prompts for benchmarks without their own: a file, package:NAME/FILE, or a public list.",
)  # fmt: skip
REWARDS = reward_option(help="Rewards for benchmarks without their own.")
MEDIA = (
    click.option(
        "--samples", type=click.IntRange(1),
        help="Number of samples per prompt.  [default: the benchmark's]"
    ),
    click.option("--shard", metavar="K/N",
        help="Run shard K of N: every N-th prompt, starting with the K-th."),
)  # fmt: skip
MODEL = (
    click.option(
        "--model", required=True, metavar="NAME",
        help="Model: a name (`rewardkit pipelines`), owner/name on the Hub, or a folder.",
    ),
    click.option(
        "--tuned",
        metavar="PATH",
        help="Tuned weights of the model: run folder, LoRA file or folder, or "
        "OWNER/NAME[@REVISION][:FILE].",
    ),
    click.option("--revision", help="Commit, tag or branch on the Hub."),
    click.option(
        "--seed", type=click.IntRange(0), default=0, show_default=True, help="Random seed."
    ),
    click.option("--steps", type=int, help="Number of inference steps.  [default: the model's]"),
    click.option("--guidance", type=float, help="Guidance scale.  [default: the model's]"),
    click.option(
        "--true-guidance", type=float, metavar="SCALE",
        help="Scale of true classifier-free guidance (true_cfg_scale), for models such as FLUX.1 "
        "and Qwen-Image.  [default: the model's]",
    ),
    click.option(
        "--negative-prompt", metavar="TEXT", help="Negative prompt.  [default: the model's]"
    ),
    click.option("--width", type=int, help="Width in pixels.  [default: the model's]"),
    click.option("--height", type=int, help="Height in pixels.  [default: the model's]"),
    click.option("--frames", type=int, help="Number of frames per video.  [default: the model's]"),
    click.option(
        "--fps", type=float, help="Frames per second of the video.  [default: the model's]"
    ),
    click.option(
        "--max-sequence-length", type=int,
        help="Maximum number of prompt tokens.  [default: the model's]"
    ),
    click.option(
        "--dtype",
        help="Data type of the model: float32, bfloat16, float16.  [default: the model's]"
    ),
    click.option(
        "--batch-size", type=click.IntRange(1),
        help="Number of samples of a prompt generated at once.  [default: all of them]",
    ),
)  # fmt: skip
RESULTS = (
    click.option(
        "-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("results"),
        show_default=True, metavar="DIR", help="Folder for the results.",
    ),
    click.option("--name", help="Name of the model in tables.  [default: from its source]"),
    click.option(
        "--weights", multiple=True, metavar="NAME=PATH",
        help="Local file or folder with a reward's weights."
    ),
    endpoint_options,
    click.option(
        "--allow-partial", is_flag=True,
        help="Score the samples that exist and mark the result incomplete."
    ),
    click.option("--overwrite", is_flag=True, help="Score everything again."),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
)  # fmt: skip
DEVICE = device_option


def options(*groups: tuple[Option[Any], ...] | Option[Any]) -> Callable[[F], F]:
    """A decorator that adds groups of options, in this order."""
    flat = [
        option for group in groups for option in (group if isinstance(group, tuple) else (group,))
    ]
    return lambda command: reduce(lambda made, option: option(made), reversed(flat), command)
