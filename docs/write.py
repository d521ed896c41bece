"""Write the generated documents: docs/cli.md, docs/ladders.png, the README's table of rewards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from PIL import Image

from grpo.cli import main as grpo
from rewardkit import create
from rewardkit.cli import main as rewardkit
from rewardkit.engine.card import RewardCard
from rewardkit.engine.registry import list_rewards
from rewardkit.media.ladders import pictures
from rewardkit.media.sheets import contact_sheet

ROOT = Path(__file__).parents[1]
SHOWN: dict[str, Any] = {"terminal_width": 100, "help_option_names": ["-h", "--help"]}
MARKS = ("<!-- rewards: written by make docs -->", "<!-- end of rewards -->")


def commands() -> str:
    """One Markdown page with the --help of every command."""
    parts = ["# The command line", "Written by `make docs` from `--help`."]
    for group in (rewardkit, grpo):
        parts += _sections(group, click.Context(group, info_name=group.name, **SHOWN), "##")
    return "\n\n".join(parts) + "\n"


def _sections(command: click.Command, context: click.Context, mark: str) -> list[str]:
    """The sections of a command and, for a group, of its subcommands."""
    parts = [f"{mark} {context.command_path}", _help(command, context)]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            subcommand = command.get_command(context, name)
            assert subcommand is not None
            inner = click.Context(subcommand, context, name, **SHOWN)
            parts += _sections(subcommand, inner, "###")
    return parts


def readme() -> str:
    """The README with an up-to-date table of rewards."""
    text = (ROOT / "README.md").read_text("utf-8")
    before, _, rest = text.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    rows = [
        "| reward | higher means | takes | unit | range | typical |",
        "|---|---|---|---|---|---|",
    ]
    rows += [_row(card) for card in list_rewards()]
    return before + "\n".join([MARKS[0], "", *rows, "", MARKS[1]]) + after


def sheet() -> Image.Image:
    """The README's contact sheet: four ladders with the scores of the reward that orders each."""
    shown = {"blur": "sharpness", "colour": "colorfulness", "contrast": "contrast"}
    shown["detail"] = "jpeg-compressibility"
    ladders = {
        ladder: {name: pixels for name, pixels in pictures().items() if name.startswith(ladder)}
        for ladder in shown
    }
    media, captions = [], []
    for ladder, reward in shown.items():
        media += list(ladders[ladder].values())
        scores = create(reward)(list(ladders[ladder].values())).tolist()
        captions += [f"{reward}\n{score:.4g}" for score in scores]
    return contact_sheet(media, captions, columns=5, width=160)


def _row(card: RewardCard) -> str:
    takes = {"image": "images", "video": "videos"}
    needs = " + prompt" if card.needs_prompt else ""
    cells = [
        f"`{card.name}`",
        card.summary.rstrip("."),
        " or ".join(takes[kind] for kind in card.inputs) + needs,
        card.unit,
        _bounds(card.range),
        _bounds(card.typical) if card.typical else "",
    ]
    return "| " + " | ".join(re.sub(r"\|", r"\\|", cell) for cell in cells) + " |"


def _bounds(bounds: tuple[float | None, float | None]) -> str:
    low, high = bounds
    return f"{'-∞' if low is None else f'{low:g}'} … {'∞' if high is None else f'{high:g}'}"


def _help(command: click.Command, context: click.Context) -> str:
    return f"```\n{command.get_help(context).rstrip()}\n```"


if __name__ == "__main__":
    (ROOT / "docs" / "cli.md").write_text(commands(), "utf-8")
    (ROOT / "README.md").write_text(readme(), "utf-8")
    sheet().save(ROOT / "docs" / "ladders.png", optimize=True)
