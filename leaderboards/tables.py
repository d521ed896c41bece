"""A leaderboard as tables: columns, cells, footnotes. What each format writes is in `render`.

A cell is text for people and data for programs. A board gives a table of what was measured and,
where asked for, another one of what papers print: the two never share a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, final

from benchmarks.results import Score
from leaderboards.board import Board, Entry, Leaderboard, Standing, Standings
from rewardkit.errors import unknown

Value = float | int | str | bool | None

TRAINED, RELATED, OTHERWISE = "†", "‡", "≠"
NONE = "-"
# The settings that a row tells; the others are in its result, and are told where they differ.
_TOLD = ("samples", "seed", "steps", "guidance", "size", "scheduler", "dtype")


@final
@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: for people, without marks.
        data: for programs, in full precision, by name; names are the same in a whole column.
        interval: half of the width of the 95 % interval, as text, and its two ends.
        best: whether it is the highest of its column, of those that rank.
        marks: what footnotes explain.
    """

    text: str
    data: Mapping[str, Value]
    interval: tuple[str, str, str] | None = None
    best: bool = False
    marks: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Column:
    """A column: what it is called, and whether it holds numbers."""

    name: str
    number: bool


@final
@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        kind: "measured", "published" or "across" boards.
        title: its name.
        about: what it shows, for a caption.
        board: what identifies it, as data.
        columns: in order.
        rows: a cell for each column.
        footnotes: what marks mean, and what is not ranked; a sentence each.
    """

    kind: Literal["measured", "published", "across"]
    title: str
    about: str
    board: Mapping[str, Value]
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footnotes: tuple[str, ...] = field(default=())


def _rank(board: Board, entry: Entry) -> Cell:
    best, worst = entry.ranks or (None, None)
    told: dict[str, Value] = {"rank_best": best, "rank_worst": worst, "unranked": entry.unranked}
    return Cell(str(entry.ranks or NONE), told)


def _model(board: Board, entry: Entry) -> Cell:
    trained = board.metric in entry.trained_metrics
    marks = []
    if entry.trained_metrics:
        marks.append(TRAINED if trained else RELATED)
    if entry.differs:
        marks.append(OTHERWISE)
    told: dict[str, Value] = {
        "model": entry.label,
        "trained_on_metric": trained,
        "made_otherwise": ", ".join(f"{one.setting} {one.value}" for one in entry.differs) or None,
    }
    return Cell(entry.label, told, marks=tuple(marks))


def _headline(board: Board, entry: Entry) -> Cell:
    return _number("score", board, entry, entry.score)


def _pictures(board: Board, entry: Entry) -> Cell:
    n, expected = entry.score.n, entry.score.expected
    text = str(n) if n == expected else f"{n} of {expected}"
    return Cell(text, {"pictures": n, "pictures_expected": expected})


def _trained_on(board: Board, entry: Entry) -> Cell:
    return Cell(entry.trained_on or NONE, {"trained_on": entry.trained_on})


def _made_with(board: Board, entry: Entry) -> Cell:
    differing = {one.setting: one.value for one in entry.differs}
    shown = _TOLD if entry.measured else tuple(entry.protocol)
    told = {**{name: entry.protocol[name] for name in shown if name in entry.protocol}, **differing}
    parts = [
        f"{OTHERWISE if name in differing else ''}{name} {value}" for name, value in told.items()
    ]
    data = {f"made_{name.replace(' ', '_')}": entry.protocol.get(name) for name in _TOLD}
    return Cell(", ".join(parts) or NONE, data)


def _created(board: Board, entry: Entry) -> Cell:
    created = entry.result.created if entry.result else None
    return Cell(created or NONE, {"created": created})


def _source(board: Board, entry: Entry) -> Cell:
    row = entry.published
    if row is None:
        return Cell(NONE, {"source": None})
    told: dict[str, Value] = {
        "source": row.source,
        "evidence": row.evidence,
        "verified": row.verified,
    }
    return Cell(row.source if row.evidence == "read" else f"{row.source} (secondary)", told)


def _note(board: Board, entry: Entry) -> Cell:
    note = entry.published.note if entry.published else None
    return Cell(note or "", {"note": note})


_Fill = Callable[[Board, Entry], Cell]

#: Columns by name. `tasks` and `metrics` stand for all of the board's; the name of one is one.
COLUMNS: dict[str, _Fill | None] = {
    "rank": _rank,
    "model": _model,
    "score": _headline,
    "tasks": None,
    "metrics": None,
    "pictures": _pictures,
    "trained-on": _trained_on,
    "made-with": _made_with,
    "created": _created,
}
_DEFAULT = tuple(name for name in COLUMNS if name != "created")
# What a paper's row can fill, and what it must say.
_OF_PAPERS = ("model", "score", "tasks", "trained-on", "made-with")
_NUMBERS = ("rank", "score", "pictures")


def tables(shown: Leaderboard, columns: Sequence[str] = ()) -> list[Table]:
    """The tables of all boards.

    Args:
        shown: the boards.
        columns: names of columns, tasks or rewards, in order; none means the usual ones. The model
            is always told.

    Raises:
        UsageError: no board has a column of that name.
    """
    parts = {name for board in shown.boards for name in (*board.tasks, *board.metrics)}
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


def across(shown: Leaderboard) -> list[Table]:
    """The tables of models across boards, one for each modality that has two boards."""
    return [_across(shown, one) for one in shown.standings]


def _table(board: Board, names: Sequence[str], kind: Literal["measured", "published"]) -> Table:
    entries = board.entries if kind == "measured" else board.published
    fills = _fills(board, names)
    if kind == "published":
        fills |= {"source": _source, "note": _note}
    rows = [[fill(board, entry) for fill in fills.values()] for entry in entries]
    if kind == "measured":
        ranked = [entry.ranks is not None for entry in entries]
        columns = [_best(of, ranked) for of in zip(*rows, strict=True)]
        rows = [list(row) for row in zip(*columns, strict=True)]
    numbers = (*_NUMBERS, *board.tasks, *board.metrics)
    return Table(
        kind=kind,
        title=" · ".join(filter(None, (board.benchmark, board.variant))),
        about=_about(board) if kind == "measured" else _papers(board),
        board={
            "modality": board.modality,
            "benchmark": board.benchmark,
            "version": board.version or None,
            "variant": board.variant,
            "metric": board.metric,
            "kind": kind,
        },
        columns=tuple(Column(name, name in numbers) for name in fills),
        rows=tuple(map(tuple, rows)),
        footnotes=_footnotes(board, entries),
    )


def _fills(board: Board, names: Sequence[str]) -> dict[str, _Fill]:
    """Columns of a board by name, in order."""
    found: dict[str, _Fill] = {}
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


def _part(name: str) -> _Fill:
    def fill(board: Board, entry: Entry) -> Cell:
        score = entry.tasks.get(name) if name in board.tasks else entry.metrics.get(name)
        return replace(_number(name, board, entry, score), interval=None)

    return fill


def _number(name: str, board: Board, entry: Entry, score: Score | None) -> Cell:
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


def _digits(value: float, board: Board) -> str:
    return f"{value:.2f}" if board.scale > 1 else f"{value:.3f}"


def _best(cells: Sequence[Cell], ranked: Sequence[bool]) -> list[Cell]:
    """A column, the highest number of those that rank marked as the best; all that look like it."""
    first = next(iter(cells[0].data))
    values = [
        (value, cell.text)
        for cell, one in zip(cells, ranked, strict=True)
        if one and isinstance(value := cell.data[first], float)
    ]
    if len(values) < 2:
        return list(cells)
    best = max(values)[1]
    return [
        replace(cell, best=one and cell.text == best)
        for cell, one in zip(cells, ranked, strict=True)
    ]


def _about(board: Board) -> str:
    mean = "mean of the means of tasks" if board.headline == "tasks" else "mean of all pictures"
    version = f"version {board.version}, " if board.version else ""
    return (
        f"{version}{board.modality}, by {board.metric}: {board.unit}, {mean}, with the 95 % "
        f"interval. {board.prompts} prompts. A rank is a range where paired tests cannot tell "
        "models apart"
    )


def _papers(board: Board) -> str:
    return f"published, not measured here, and not comparable: {board.modality}, by {board.metric}"


def _footnotes(board: Board, entries: Sequence[Entry]) -> tuple[str, ...]:
    found = list(board.notes)
    if any(board.metric in one.trained_metrics for one in entries):
        found.append(f"{TRAINED} was trained on {board.metric}, which measures it here.")
    related = [one for one in entries if one.trained_metrics]
    if any(board.metric not in one.trained_metrics for one in related):
        found.append(f"{RELATED} was trained on another reward of this benchmark.")
    if any(one.differs for one in entries):
        found.append(f"{OTHERWISE} was made with settings other than the usual ones of this board.")
    found += [
        f"{one.label} is not ranked: {one.unranked}."
        for one in entries
        if one.measured and one.unranked
    ]
    return tuple(found)


def _across(shown: Leaderboard, standings: Standings) -> Table:
    titles = {
        board.id: board.benchmark
        if board.benchmark == board.metric
        else f"{board.benchmark} ({board.metric})"
        for board in shown.boards
    }
    columns = ["model", "mean rank", "win rate", *(titles[id] for id in standings.boards)]
    footnotes = [
        f"{model} does not stand here: it has no rank on {', '.join(titles[id] for id in lacking)}."
        for model, lacking in standings.absent.items()
    ]
    if any(row.trained_metrics for row in standings.rows):
        footnotes.insert(0, f"{TRAINED} was trained on a reward that measures it here.")
    return Table(
        kind="across",
        title="Across benchmarks",
        about=(
            f"{standings.modality}; mean of the middles of ranks, and mean share of prompts won "
            "against the others, over models that are ranked on each"
        ),
        board={"modality": standings.modality, "kind": "across"},
        columns=tuple(Column(name, name != "model") for name in columns),
        rows=tuple(_standing(row, standings.boards, titles) for row in standings.rows),
        footnotes=tuple(footnotes),
    )


def _standing(row: Standing, boards: Sequence[str], titles: Mapping[str, str]) -> tuple[Cell, ...]:
    trained = ", ".join(row.trained_metrics)
    ranks = [
        Cell(
            str(row.ranks[id]),
            {
                f"{titles[id]} rank_best": row.ranks[id].best,
                f"{titles[id]} rank_worst": row.ranks[id].worst,
            },
        )
        for id in boards
    ]
    rate = NONE if row.win_rate is None else f"{row.win_rate:.3f}"
    return (
        Cell(
            row.model,
            {"model": row.model, "trained_metrics": trained or None},
            marks=(TRAINED,) if trained else (),
        ),
        Cell(f"{row.mean_rank:.2f}", {"mean_rank": row.mean_rank}),
        Cell(rate, {"win_rate": row.win_rate}),
        *ranks,
    )
