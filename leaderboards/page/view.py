"""Boards -> what the template shows: rows with marks and bars, who leads, the common protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

from leaderboards.across import across
from leaderboards.board import SHORT, Board, BoardEntry, Leaderboard, Standings
from leaderboards.cells import Cell
from leaderboards.page.details import Details, details
from leaderboards.tables import BoardTable, Column, tables
from rewardkit.media.task import Task, noun_of

COLUMNS = ("rank", "model", "score", "tasks", "metrics")
# Settings that most rows share are shown once, in this order; others are in the drawer of a row.
_PROTOCOL = {
    "samples": "{} samples per prompt",
    "size": "{}",
    "frames": "{} frames",
    "fps": "{} frames per second",
    "steps": "{} steps",
    "guidance": "guidance {}",
    "scheduler": "{}",
    "seed": "seed {}",
    "dtype": "{}",
}
_TITLES: dict[Task, str] = {
    "text-to-image": "Text to image",
    "text-to-video": "Text to video",
    "image-to-video": "Image to video",
    "image-edit": "Image editing",
}
# Sorts behind every rank.
_LAST = 1e9


class Mark(NamedTuple):
    """A remark on a row: a kind, by which rows are filtered, and its text."""

    kind: Literal["trained", "related", "protocol", "unranked", "published"]
    text: str
    why: str


class Bar(NamedTuple):
    """A score and its interval, in percent of the width of a cell."""

    at: float
    low: float | None
    high: float | None


class Shown(NamedTuple):
    """A cell of a column, and what it is sorted by; None is by its text."""

    column: Column
    cell: Cell
    order: float | str | None


@final
@dataclass(frozen=True)
class BoardRow:
    """A row of a table; `headline` is the cell of its score."""

    entry: BoardEntry
    cells: tuple[Shown, ...]
    headline: Cell
    bar: Bar | None
    marks: tuple[Mark, ...]
    details: Details


@final
@dataclass(frozen=True)
class Grid:
    """A table of measured or of published rows."""

    table: BoardTable
    rows: tuple[BoardRow, ...]

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of marks that it has."""
        return frozenset(mark.kind for row in self.rows for mark in row.marks)


@final
@dataclass(frozen=True)
class BoardView:
    """A board, as its section of the page shows it.

    Attributes:
        board: the board.
        leaders: the rows that may be the first.
        untrained: the first row that was not trained on the metric, where all leaders were.
        protocol: the usual settings, which rows are not marked for.
        measured: None where nothing was.
        published: None where there is none.
    """

    board: Board
    leaders: Sequence[BoardRow]
    untrained: BoardRow | None
    protocol: Sequence[str]
    measured: Grid | None
    published: Grid | None

    @property
    def noun(self) -> str:
        """What its models make: "picture" or "clip"."""
        return noun_of(self.board.task)

    @property
    def title(self) -> str:
        """The benchmark, and how it differs from the main board."""
        return " · ".join(filter(None, (self.board.benchmark, self.board.variant)))


class Group(NamedTuple):
    """The boards of a task, with what stands across them.

    `name` is what tables call the task, `noun` what its models make.
    """

    name: str
    title: str
    noun: str
    boards: Sequence[BoardView]
    standings: Sequence[tuple[Standings, BoardTable]]


def groups(shown: Leaderboard) -> list[Group]:
    """The boards by task, without tasks that have none."""
    found = iter(tables(shown, COLUMNS))
    views = [
        _board(
            board,
            next(found) if board.entries else None,
            next(found) if board.published else None,
        )
        for board in shown.boards
    ]
    views.sort(key=lambda view: view.measured is None)  # first what was measured
    standings = list(zip(shown.standings, across(shown), strict=True))
    return [
        Group(
            SHORT[task],
            title,
            noun_of(task),
            [view for view in views if view.board.task == task],
            [pair for pair in standings if pair[0].task == task],
        )
        for task, title in _TITLES.items()
        if any(view.board.task == task for view in views)
    ]


def _board(board: Board, measured: BoardTable | None, published: BoardTable | None) -> BoardView:
    grid = measured and _grid(board, measured, board.entries)
    ranked = [row for row in (grid.rows if grid else ()) if row.entry.ranks is not None]
    leaders = [row for row in ranked if row.entry.ranks and row.entry.ranks.best == 1]
    untrained = [row for row in ranked if not board.trained(row.entry)]
    return BoardView(
        board=board,
        leaders=leaders,
        untrained=untrained[0] if untrained and untrained[0] not in leaders else None,
        protocol=_protocol(board.entries),
        measured=grid,
        published=published and _grid(board, published, board.published),
    )


def _grid(board: Board, table: BoardTable, entries: Sequence[BoardEntry]) -> Grid:
    ends = [
        end
        for entry in entries
        if entry.score.score is not None
        for end in (entry.score.score, *(entry.score.interval or ()))
    ]
    headline = [column.name for column in table.columns].index("score")
    return Grid(
        table=table,
        rows=tuple(
            BoardRow(
                entry=entry,
                headline=cells[headline],
                cells=tuple(
                    Shown(column, cell, _order(column, cell, entry))
                    for column, cell in zip(table.columns, cells, strict=True)
                ),
                bar=_bar(entry, min(ends, default=0), max(ends, default=1)),
                marks=marks(board, entry),
                details=details(board, entry),
            )
            for entry, cells in zip(entries, table.rows, strict=True)
        ),
    )


def _order(column: Column, cell: Cell, entry: BoardEntry) -> float | str | None:
    """Numbers sort by value, ranges of ranks by their best and then their worst."""
    if column.name == "rank":
        return _LAST if entry.ranks is None else entry.ranks.best + entry.ranks.worst / _LAST
    if not column.number:
        return None
    value = next(iter(cell.data.values()))
    return "" if value is None else float(value)


def _bar(entry: BoardEntry, least: float, most: float) -> Bar | None:
    """The place of a score between the least and the greatest end of the table."""
    value = entry.score.score
    if value is None or most <= least:
        return None

    def place(value: float) -> float:
        return round(100 * (value - least) / (most - least), 2)

    low, high = entry.score.interval or (None, None)
    if low is None or high is None:
        return Bar(place(value), None, None)
    return Bar(place(value), place(low), place(high))


def marks(board: Board, entry: BoardEntry) -> tuple[Mark, ...]:
    """What must be known of a row."""
    found = []
    if entry.published is not None:
        found.append(Mark("published", "published", "Printed in a source, not measured here."))
    elif entry.unranked is not None:
        found.append(Mark("unranked", entry.unranked, "Shown, and not ranked."))
    if board.trained(entry):
        why = f"It was trained on {entry.trained_on}, and {board.metric} measures it here."
        found.append(Mark("trained", "trained on this metric", why))
    elif entry.trained_metrics:
        names = ", ".join(entry.trained_metrics)
        found.append(
            Mark("related", f"trained on {names}", f"It was trained on {entry.trained_on}.")
        )
    if entry.differs:
        settings = ", ".join(
            f"{difference.setting} {difference.value}" for difference in entry.differs[:2]
        )
        more = f" and {len(entry.differs) - 2} more" if len(entry.differs) > 2 else ""
        why = "Not the usual settings of this board: " + ", ".join(
            f"{difference.setting} {difference.value}" for difference in entry.differs
        )
        found.append(Mark("protocol", f"other protocol: {settings}{more}", f"{why}."))
    return tuple(found)


def _protocol(entries: Sequence[BoardEntry]) -> list[str]:
    found = []
    for name, form in _PROTOCOL.items():
        # What is usual is what no row is marked for.
        values = {
            entry.protocol.get(name)
            for entry in entries
            if name not in {differing.setting for differing in entry.differs}
        }
        if len(values) == 1 and None not in values:
            found.append(form.format(*values))
    return found
