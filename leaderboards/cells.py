"""The cells of a board: what each column says of a row.

A cell is text for people and data for programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from benchmarks.results import Score
from leaderboards.board import Board, BoardEntry
from rewardkit.media.task import noun_of

Value = float | int | str | bool | None

TRAINED, RELATED, OTHERWISE = "†", "‡", "≠"
NONE = "-"
# The settings that a row shows; others are in its result, and are shown where they differ.
_SHOWN = ("samples", "seed", "steps", "guidance", "size", "scheduler", "dtype")


@final
@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: for people, without marks.
        data: for programs, in full precision, by name; a column has the same names in each row.
        interval: half the width of the 95 % confidence interval, and its two ends, as text.
        best: whether it is the highest of its column among the models that rank.
        marks: symbols that footnotes explain.
    """

    text: str
    data: Mapping[str, Value]
    interval: tuple[str, str, str] | None = None
    best: bool = False
    marks: tuple[str, ...] = ()


Fill = Callable[[Board, BoardEntry], Cell]


def rank(board: Board, entry: BoardEntry) -> Cell:
    """The range of its ranks."""
    best, worst = entry.ranks or (None, None)
    data: dict[str, Value] = {"rank_best": best, "rank_worst": worst, "unranked": entry.unranked}
    return Cell(str(entry.ranks or NONE), data)


def model(board: Board, entry: BoardEntry) -> Cell:
    """Its label, with marks."""
    trained = board.trained(entry)
    marks = []
    if entry.trained_metrics:
        marks.append(TRAINED if trained else RELATED)
    if entry.differs:
        marks.append(OTHERWISE)
    data: dict[str, Value] = {
        "model": entry.label,
        "trained_on_metric": trained,
        "made_otherwise": ", ".join(
            f"{difference.setting} {difference.value}" for difference in entry.differs
        )
        or None,
    }
    return Cell(entry.label, data, marks=tuple(marks))


def headline(board: Board, entry: BoardEntry) -> Cell:
    """The headline with its interval."""
    return number("score", board, entry, entry.score)


def media(board: Board, entry: BoardEntry) -> Cell:
    """How many pictures or clips have a score."""
    n, expected = entry.score.n, entry.score.expected
    text = str(n) if n == expected else f"{n} of {expected}"
    name = heading("media", board)
    return Cell(text, {name: n, f"{name}_expected": expected})


def trained_on(board: Board, entry: BoardEntry) -> Cell:
    """The rewards it was trained on."""
    return Cell(entry.trained_on or NONE, {"trained_on": entry.trained_on})


def made_with(board: Board, entry: BoardEntry) -> Cell:
    """The protocol."""
    differing = {difference.setting: difference.value for difference in entry.differs}
    shown = _SHOWN if entry.measured else tuple(entry.protocol)
    known = {name: entry.protocol[name] for name in shown if name in entry.protocol}
    parts = [
        f"{OTHERWISE if name in differing else ''}{name} {value}"
        for name, value in {**known, **differing}.items()
    ]
    data = {f"made_{name.replace(' ', '_')}": entry.protocol.get(name) for name in _SHOWN}
    return Cell(", ".join(parts) or NONE, data)


def created(board: Board, entry: BoardEntry) -> Cell:
    """When its result was made."""
    created = entry.result.created if entry.result else None
    return Cell(created or NONE, {"created": created})


def source(board: Board, entry: BoardEntry) -> Cell:
    """Where a published row is printed."""
    row = entry.published
    if row is None:
        return Cell(NONE, {"source": None})
    data: dict[str, Value] = {
        "source": row.source,
        "evidence": row.evidence,
        "verified": row.verified,
    }
    return Cell(row.source if row.evidence == "read" else f"{row.source} (secondary)", data)


def note(board: Board, entry: BoardEntry) -> Cell:
    """The note of a published row."""
    note = entry.published.note if entry.published else None
    return Cell(note or "", {"note": note})


def number(name: str, board: Board, entry: BoardEntry, score: Score | None) -> Cell:
    """A score, with its interval where it has one."""
    value = score.score if score else None
    low, high = score.interval if score and score.interval else (None, None)
    interval = None
    if low is not None and high is not None:
        half, least, most = (_digits(end, board) for end in ((high - low) / 2, low, high))
        interval = half, least, most
    data = {name: value, f"{name}_low": low, f"{name}_high": high}
    if value is None:
        return Cell(NONE, data)
    row = entry.published
    printed = None if row is None else row.tasks.get(name, row.score)
    return Cell(_digits(value, board) if printed is None else str(printed), data, interval)


def heading(name: str, board: Board) -> str:
    """What a column is called on a board: the media by what they are."""
    return f"{noun_of(board.task)}s" if name == "media" else name


def _digits(value: float, board: Board) -> str:
    return f"{value:.2f}" if board.scale > 1 else f"{value:.3f}"
