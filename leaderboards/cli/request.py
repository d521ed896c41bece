"""What is asked of a table: the options that `table` and the blocks of Markdown files share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli.options import options
from rewardkit.errors import InputError, UsageError

if TYPE_CHECKING:
    from leaderboards.board import Leaderboard
    from leaderboards.tables import Table

_RESULTS = click.argument(
    "results", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS]..."
)
_BENCHMARK = click.option(
    "--benchmark", "benchmarks", multiple=True, metavar="NAME", help="Only this one; repeatable."
)
_COLUMNS = click.option(
    "--columns", metavar="NAMES",
    help="Columns to show: rank, model, score, tasks, metrics, media, trained-on, made-with, "
    "created, and the names of tasks and rewards; with commas between.",
)  # fmt: skip
_PUBLISHED = click.option(
    "--published", is_flag=True, help="Numbers from papers too, in tables of their own."
)
_ACROSS = click.option(
    "--across", is_flag=True, help="Models across benchmarks instead: mean rank and win rate."
)
OPTIONS = (_RESULTS, _BENCHMARK, _COLUMNS, _PUBLISHED, _ACROSS)


@click.command("leaderboard", add_help_option=False)
@options(OPTIONS)
def _block(**asked: Any) -> None:
    """What the beginning of a block is parsed by."""


def made(
    results: tuple[Path, ...],
    benchmarks: tuple[str, ...],
    columns: str | None,
    published: bool,
    across: bool,
) -> tuple[Leaderboard, list[Table]]:
    """The boards and the tables that are asked for.

    Raises:
        UsageError: the request cannot be met.
        InputError: there is no result, or one cannot be read.
    """
    from leaderboards.across import across as across_boards
    from leaderboards.assemble import leaderboard
    from leaderboards.tables import tables

    if not results and not published:
        raise UsageError("nothing is asked for: name folders of results, or give --published")
    if across and columns is not None:
        raise UsageError("--across has columns of its own: leave out --columns")
    shown = leaderboard(results, benchmarks=benchmarks, with_published=published)
    if not across:
        names = [] if columns is None else [one.strip() for one in columns.split(",")]
        return shown, tables(shown, names)
    found = across_boards(shown)
    if not found:
        raise InputError(
            "models stand across two benchmarks or more, each with two that rank; here are "
            + (", ".join(f"{len(one.ranked)} on {one.benchmark}" for one in shown.boards) or "none")
        )
    return shown, found


def parsed(text: str, folder: Path) -> dict[str, Any]:
    """What the beginning of a block asks for, as `made` takes it, its paths below `folder`.

    Raises:
        InputError: the options are wrong.
    """
    try:
        asked = _block.make_context("leaderboard", shlex.split(text)).params
    except (click.ClickException, ValueError) as error:
        told = error.format_message() if isinstance(error, click.ClickException) else str(error)
        raise InputError(
            f"{text!r} is no request: {told} See rewardkit leaderboard table --help"
        ) from error
    return {**asked, "results": tuple(folder / one for one in asked["results"])}
