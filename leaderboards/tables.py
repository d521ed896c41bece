"""A leaderboard as tables: columns, rows, footnotes. What each format writes is in `render`.

A board gives a table of what was measured and, on request, another one of what papers print: the
two never share a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, final

from leaderboards import cells
from leaderboards.board import SHORT, Board, BoardEntry, Leaderboard
from leaderboards.cells import OTHERWISE, RELATED, TRAINED, Cell, Fill, Value
from rewardkit.errors import unknown
from rewardkit.records.frames import frame

if TYPE_CHECKING:
    import pandas as pd


@final
@dataclass(frozen=True)
class Column:
    """A column: its heading, and whether it holds numbers."""

    name: str
    number: bool


@final
@dataclass(frozen=True)
class BoardTable:
    """A table.

    Attributes:
        kind: "measured", "published" or "across" boards.
        title: its name.
        about: what it shows, for a caption.
        board: what identifies it, as data.
        columns: in order.
        rows: a cell for each column.
        footnotes: the meaning of marks, and which models are not ranked; a sentence each.
    """

    kind: Literal["measured", "published", "across"]
    title: str
    about: str
    board: Mapping[str, Value]
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footnotes: tuple[str, ...] = field(default=())

    def records(self) -> list[dict[str, Value]]:
        """The data of each row by name, in full precision."""
        return [
            {name: value for cell in row for name, value in cell.data.items()} for row in self.rows
        ]

    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame.

        Raises:
            MissingPackage: the extra `pandas` is not installed.
        """
        return frame(self.records())


#: Columns by name. `tasks` and `metrics` stand for all of a board's; each can be named alone too.
COLUMNS: dict[str, Fill | None] = {
    "rank": cells.rank,
    "model": cells.model,
    "score": cells.headline,
    "tasks": None,
    "metrics": None,
    "media": cells.media,
    "trained-on": cells.trained_on,
    "made-with": cells.made_with,
    "created": cells.created,
}
# What the column `media` is called on boards.
_ALIASES = {"pictures": "media", "clips": "media"}
_DEFAULT = tuple(name for name in COLUMNS if name != "created")
# The columns that a published row can fill.
_OF_PAPERS = ("model", "score", "tasks", "trained-on", "made-with")
_NUMBERS = ("rank", "score", "media")


def tables(shown: Leaderboard, columns: Sequence[str] = ()) -> list[BoardTable]:
    """The tables of all boards.

    Args:
        shown: the boards.
        columns: names of columns, tasks or rewards, in order; none means the usual ones. The model
            is always among them.

    Raises:
        UsageError: no board has a column of that name.
    """
    parts = {name for board in shown.boards for name in (*board.tasks, *board.metrics)}
    columns = [_ALIASES.get(name, name) for name in columns]
    for name in columns:
        if name not in COLUMNS and name not in parts:
            raise unknown("column", name, [*COLUMNS, *parts], "rewardkit leaderboard table --help")
    names = tuple(columns) or _DEFAULT
    if "model" not in names:
        names = ("model", *names)
    found = []
    for board in shown.boards:
        if board.entries:
            found.append(_table(board, names, "measured"))
        if board.published:
            kept = [name for name in names if name in _OF_PAPERS or name in board.tasks]
            found.append(_table(board, kept, "published"))
    return found


def _table(
    board: Board, names: Sequence[str], kind: Literal["measured", "published"]
) -> BoardTable:
    entries = board.entries if kind == "measured" else board.published
    fills = _fills(board, names)
    if kind == "published":
        fills |= {"source": cells.source, "note": cells.note}
    rows = [[fill(board, entry) for fill in fills.values()] for entry in entries]
    if kind == "measured":
        ranked = [entry.ranks is not None for entry in entries]
        columns = [_best(of, ranked) for of in zip(*rows, strict=True)]
        rows = [list(row) for row in zip(*columns, strict=True)]
    numbers = (*_NUMBERS, *board.tasks, *board.metrics)
    return BoardTable(
        kind=kind,
        title=" · ".join(filter(None, (board.benchmark, board.variant))),
        about=_about(board) if kind == "measured" else _papers(board),
        board={
            "modality": SHORT[board.task],
            "benchmark": board.benchmark,
            "version": board.version or None,
            "variant": board.variant,
            "metric": board.metric,
            "kind": kind,
        },
        columns=tuple(Column(cells.heading(name, board), name in numbers) for name in fills),
        rows=tuple(map(tuple, rows)),
        footnotes=_footnotes(board, entries),
    )


def _fills(board: Board, names: Sequence[str]) -> dict[str, Fill]:
    """Columns of a board by name, in order."""
    found: dict[str, Fill] = {}
    for name in names:
        own = COLUMNS.get(name)
        if own is not None:
            found[name] = own
            continue
        groups = {"tasks": board.tasks, "metrics": board.metrics}
        for part in groups.get(name, (name,)):
            if part in board.tasks or part in board.metrics:
                found[part] = _part(part)
    return found


def _part(name: str) -> Fill:
    def fill(board: Board, entry: BoardEntry) -> Cell:
        score = entry.tasks.get(name) if name in board.tasks else entry.metrics.get(name)
        return replace(cells.number(name, board, entry, score), interval=None)

    return fill


def _best(column: Sequence[Cell], ranked: Sequence[bool]) -> list[Cell]:
    """A column with the highest number of models that rank marked, and all that look like it."""
    first = next(iter(column[0].data))
    values = [
        (value, cell.text)
        for cell, ranks in zip(column, ranked, strict=True)
        if ranks and isinstance(value := cell.data[first], float)
    ]
    if len(values) < 2:
        return list(column)
    best = max(values)[1]
    return [
        replace(cell, best=ranks and cell.text == best)
        for cell, ranks in zip(column, ranked, strict=True)
    ]


def _about(board: Board) -> str:
    version = f"version {board.version}, " if board.version else ""
    return (
        f"{version}{SHORT[board.task]}, by {board.metric}: {board.unit}, {board.averaging}, with "
        f"the 95 % interval. {board.prompts} prompts. A rank is a range where paired tests cannot "
        "distinguish models"
    )


def _papers(board: Board) -> str:
    return (
        f"published, not measured here, and not comparable: {SHORT[board.task]}, by {board.metric}"
    )


def _footnotes(board: Board, entries: Sequence[BoardEntry]) -> tuple[str, ...]:
    notes = list(board.notes)
    if any(board.trained(entry) for entry in entries):
        trained_on = board.rewards[0] if len(board.rewards) == 1 else "a reward"
        notes.append(f"{TRAINED} was trained on {trained_on}, which measures it here.")
    if any(entry.trained_metrics and not board.trained(entry) for entry in entries):
        notes.append(f"{RELATED} was trained on another reward of this benchmark.")
    if any(entry.differs for entry in entries):
        notes.append(f"{OTHERWISE} was made with settings other than the usual ones of this board.")
    notes += [
        f"{entry.label} is not ranked: {entry.unranked}."
        for entry in entries
        if entry.measured and entry.unranked
    ]
    return tuple(notes)
