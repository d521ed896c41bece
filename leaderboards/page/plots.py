"""Boards and runs -> the data of plots; what is drawn of them is in plots.js."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.results import Score
from leaderboards.board import Board, BoardEntry
from leaderboards.page.runs import LoggedRun, Point, rewards

# The colours and symbols of more models look too much alike.
MODELS = 8


def by_task(board: Board) -> dict[str, Any]:
    """Scores with intervals by task, of the first models of a board."""
    shown = [entry for entry in board.entries if entry.score.score is not None][:MODELS]
    return {
        "kind": "tasks",
        "unit": board.unit,
        "categories": ["all", *board.tasks],
        "series": [
            {
                "name": entry.label,
                "points": [
                    _score(score)
                    for score in (entry.score, *(entry.tasks.get(task) for task in board.tasks))
                ],
            }
            for entry in shown
        ],
        "left_out": len(board.entries) - len(shown),
    }


def against(boards: Sequence[Board]) -> dict[str, Any] | None:
    """Models over any two metrics of boards of one task; None where there are not two.

    Args:
        boards: of one task. A model's label is the same on each, where its protocol is.
    """
    metrics: list[dict[str, Any]] = []
    for board in boards:
        for name in (board.metric, *board.metrics):
            found = {
                entry.label: score
                for entry in board.entries
                if (score := _score(_metric(board, entry, name))) is not None
            }
            title = name if board.benchmark == name else f"{board.benchmark}: {name}"
            trained = [entry.label for entry in board.entries if name in entry.trained_metrics]
            if found:
                title = f"{title} ({board.variant})" if board.variant else title
                metrics.append({"title": title, "points": found, "trained": trained})
    pairs = [
        (first, other)
        for first in range(len(metrics))
        for other in range(first + 1, len(metrics))
        if metrics[first]["points"].keys() & metrics[other]["points"].keys()
    ]
    if not pairs:
        return None
    return {"kind": "against", "metrics": metrics, "first": pairs[0]}


def training(runs: Sequence[LoggedRun]) -> dict[str, Any] | None:
    """Curves of runs by reward; None where there is none."""
    names = rewards(runs)
    if not names:
        return None
    return {
        "kind": "training",
        "rewards": [
            {
                "name": name,
                "runs": [
                    {
                        "name": run.name,
                        "trained": _points(run.trained, name),
                        "held_out": _points(run.held_out, name),
                    }
                    for run in runs
                    if name in run.trained or name in run.held_out
                ],
            }
            for name in names
        ],
    }


def _metric(board: Board, entry: BoardEntry, name: str) -> Score | None:
    return entry.score if name == board.metric else entry.metrics.get(name)


def _score(score: Score | None) -> list[float | None] | None:
    """Value, low, high; None where there is no value."""
    if score is None or score.score is None:
        return None
    return [score.score, *(score.interval or (None, None))]


def _points(curves: Mapping[str, tuple[Point, ...]], name: str) -> list[Point]:
    return list(curves.get(name, ()))
