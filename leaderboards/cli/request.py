"""The options of a table, which the command `table` and blocks in Markdown files share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli.options import options
from rewardkit.errors import InputError, UsageError

if TYPE_CHECKING:
    from leaderboards.board import Leaderboard
    from leaderboards.tables import BoardTable

_RESULTS = click.argument(
    "results", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS]..."
)
_BENCHMARK = click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="NAME",
    help="Show only this benchmark; can be repeated.",
)
_COLUMNS = click.option(
    "--columns", metavar="NAMES",
    help="Columns to show: rank, model, score, tasks, metrics, media, trained-on, made-with, "
    "created, and the names of tasks and rewards, separated by commas.",
)  # fmt: skip
_PUBLISHED = click.option(
    "--published", is_flag=True, help="Add numbers from papers in separate tables."
)
_ACROSS = click.option(
    "--across", is_flag=True, help="Compare models across benchmarks by mean rank and win rate."
)
OPTIONS = (_RESULTS, _BENCHMARK, _COLUMNS, _PUBLISHED, _ACROSS)


@click.command("leaderboard", add_help_option=False)
@options(OPTIONS)
def _block(**params: Any) -> None:
    """Parser of the options in a block's first line."""


def made(
    results: tuple[Path, ...],
    benchmarks: tuple[str, ...],
    columns: str | None,
    published: bool,
    across: bool,
) -> tuple[Leaderboard, list[BoardTable]]:
    """The boards and tables of a request.

    Raises:
        UsageError: the options do not fit together.
        InputError: there is no result, or one cannot be read.
    """
    from leaderboards.across import across as across_boards
    from leaderboards.assemble import leaderboard
    from leaderboards.tables import tables

    if not results and not published:
        raise UsageError("there is nothing to show: name folders of results, or give --published")
    if across and columns is not None:
        raise UsageError("--across has its own columns: leave out --columns")
    shown = leaderboard(results, benchmarks=benchmarks, with_published=published)
    if not across:
        names = [] if columns is None else [name.strip() for name in columns.split(",")]
        return shown, tables(shown, names)
    found = across_boards(shown)
    if not found:
        raise InputError(
            "--across needs two benchmarks or more, each with two ranked models; there are "
            + (
                ", ".join(f"{len(board.ranked)} on {board.benchmark}" for board in shown.boards)
                or "none"
            )
        )
    return shown, found


def parsed(text: str, folder: Path) -> dict[str, Any]:
    """The options in a block's first line, as arguments of `made`, with paths below `folder`.

    Raises:
        InputError: the options are wrong.
    """
    try:
        params = _block.make_context("leaderboard", shlex.split(text)).params
    except (click.ClickException, ValueError) as error:
        reason = error.format_message() if isinstance(error, click.ClickException) else str(error)
        raise InputError(
            f"{text!r} is not a valid request: {reason} See rewardkit leaderboard table --help"
        ) from error
    return {**params, "results": tuple(folder / path for path in params["results"])}
