"""`rewardkit sheet`: the pictures or clips of a score table, on one picture, with their scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardkit.errors import InputError, UsageError, unknown

if TYPE_CHECKING:
    from rewardkit.media.batch import Medium


@click.command()
@click.argument("scores", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, metavar="FILE", help="Image file to write.")
@click.option(
    "--by",
    metavar="REWARD",
    help="Sort by this reward, highest first.  [default: the table's order]",
)
@click.option("--lowest", is_flag=True, help="Sort lowest first, with --by.")
@click.option(
    "-n", "number", type=click.IntRange(1), default=30, show_default=True,
    help="Maximum number of images or videos.",
)  # fmt: skip
def sheet(scores: Path, output: str, by: str | None, lowest: bool, number: int) -> None:
    """Write a contact sheet of SCORES, a table that `rewardkit score -o` wrote.

    A video is shown by its middle frame.
    """
    from rewardkit.media.images import save_picture
    from rewardkit.media.sheets import contact_sheet, one_line
    from rewardkit.records.rows import read_rows
    from rewardkit.records.storage import atomic_write

    table = read_rows(scores)
    rows = list(table.rows)
    if lowest and by is None:
        raise UsageError("--lowest goes with --by: lowest of what?")
    if by is not None:
        if by not in table.rewards:
            raise unknown("column", by, table.rewards, f"the header of {scores}")
        rows = [row for row in rows if row.scores[by] is not None]
        rows.sort(key=lambda row: row.scores[by] or 0.0, reverse=not lowest)
    rows = rows[:number]
    if not rows:
        raise InputError(f"{scores} holds no row to show")
    captions = [
        "\n".join(
            [
                one_line(row.prompt or Path(row.path).name),
                *(f"{name} {_cell(value)}" for name, value in row.scores.items()),
            ]
        )
        for row in rows
    ]
    picture = contact_sheet([_read(row.path) for row in rows], captions)
    with atomic_write(output) as temporary:
        save_picture(picture, temporary)


def _read(path: str) -> Medium:
    from rewardkit.media.clips import read_clip
    from rewardkit.media.decoding import CLIP_SUFFIXES
    from rewardkit.media.images import read_image

    if Path(path).suffix.lower() in CLIP_SUFFIXES:
        return read_clip(path, frames=3)  # the first, the middle and the last
    return read_image(path)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
