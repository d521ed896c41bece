"""The folder of the page: index.html with scripts and data inside, pictures and clips in media/."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from leaderboards.board import SHORT, Leaderboard
from leaderboards.page import libraries, plots
from leaderboards.page.copies import MEDIA, Copies, Copy
from leaderboards.page.gallery import gallery
from leaderboards.page.runs import LoggedRun
from leaderboards.page.view import groups
from rewardkit.errors import UsageError
from rewardkit.extras import require
from rewardkit.records.provenance import now
from rewardkit.records.storage import atomic_write

_HERE = Path(__file__).parent
_INDEX = "index.html"
TITLE = "Leaderboard"
_SOURCES = ("page.css", "page.js", "tables.js", "plots.js")
# Marks a page that may be overwritten.
GENERATOR = '<meta name="generator" content="rewardkit leaderboard">'


class _Training(NamedTuple):
    """A run as the page shows it.

    Attributes:
        run: what it logged.
        sheets: steps and addresses of its first and last sheet; none where one is left out.
        left_out: the steps of sheets that cannot be copied.
    """

    run: LoggedRun
    sheets: tuple[tuple[int, Copy], ...]
    left_out: tuple[int, ...]


def build(
    shown: Leaderboard,
    out: Path,
    *,
    runs: Sequence[LoggedRun] = (),
    per_task: int = 4,
    title: str = TITLE,
    on_note: Callable[[str], None] = lambda note: None,
) -> Path:
    """Writes the page of some boards and runs.

    Args:
        shown: the boards.
        out: its folder; a page that is there already is replaced.
        runs: of `grpo train`.
        per_task: prompts of each task whose pictures or clips are shown.
        title: of the page.
        on_note: called with what was left out and why, a sentence for each reason.

    Returns:
        The file to open.

    Raises:
        MissingPackage: the extra `page` is not installed.
        UsageError: the folder holds something else.
        InputError: rows or media cannot be read, or the page not written.
    """
    require("page", "building the page")
    index = out / _INDEX
    _check(out, index)
    # Hidden, so that what an interrupted build leaves is in the way of nobody.
    staged = out / f".{MEDIA}"
    shutil.rmtree(staged, ignore_errors=True)
    copies = Copies(staged)
    try:
        text = _rendered(shown, runs, per_task, title, copies)
        with atomic_write(index) as temporary:
            # The name of a file can have lone surrogates, which no page can hold.
            temporary.write_text(text, "utf-8", "replace")
        shutil.rmtree(out / MEDIA, ignore_errors=True)
        if staged.exists():
            staged.rename(out / MEDIA)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    # Not on the page: they name files of this machine.
    for note in copies.notes:
        on_note(note)
    return index


def _check(out: Path, index: Path) -> None:
    """Refuses a folder that holds something else than a page.

    Raises:
        UsageError: it does.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: name a folder with --out")
    # Hidden files are those of the system, or of who publishes the folder.
    others = out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir())
    if others and not (index.is_file() and GENERATOR in index.read_text("utf-8", "replace")):
        raise UsageError(f"{out} is not empty and holds no page of rewardkit: name another --out")


def _plots(shown: Leaderboard, runs: Sequence[LoggedRun]) -> dict[str, Any]:
    """The data of each plot by the id of its place."""
    found: dict[str, Any] = {
        f"tasks.{board.id}": plots.by_task(board) for board in shown.boards if board.entries
    }
    for task in dict.fromkeys(board.task for board in shown.boards):
        boards = [board for board in shown.boards if board.task == task]
        found[f"against.{SHORT[task]}"] = plots.against(boards)
    found["training"] = plots.training(runs)
    return {name: data for name, data in found.items() if data is not None}


def _training(run: LoggedRun, number: int, copies: Copies) -> _Training:
    found, left_out = [], []
    for sheet in (run.first, run.last):
        if sheet is None:
            continue
        path = sheet.path.relative_to(run.folder)
        place = copies.allowed(run.folder, str(path), [Path(os.path.realpath(run.root))])
        copied = copies.copy(place, f"run-{number}.{sheet.path.stem}") if place else None
        if copied is None:
            left_out.append(sheet.step)
        else:
            found.append((sheet.step, copied))
    # One alone shows no change.
    return _Training(run, () if left_out else tuple(found), tuple(left_out))


def _rendered(
    shown: Leaderboard, runs: Sequence[LoggedRun], per_task: int, title: str, copies: Copies
) -> str:
    """The text of the page; the pictures and clips that it shows are copied."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    parts = groups(shown)
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        title=title,
        groups=parts,
        galleries={
            view.board.id: gallery(view.board, per_task, copies, shown.folders)
            for group in parts
            for view in group.boards
        },
        runs=[_training(run, number, copies) for number, run in enumerate(runs)],
        notes=shown.notes,
        plots=_plots(shown, runs),
        created=now(),
        generator=GENERATOR,
        source={name: (_HERE / name).read_text("utf-8") for name in _SOURCES},
        datatables=libraries.datatables(),
        plotly=libraries.plotly(),
    )
