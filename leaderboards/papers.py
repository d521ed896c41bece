"""Published rows on boards: beside what was measured, or on boards of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from benchmarks.results import Score
from leaderboards.board import Board, BoardEntry
from leaderboards.comparable import trained_metrics
from leaderboards.published import PublishedRow
from rewardkit.media.task import Task


def with_published(
    boards: Sequence[Board], rows: Sequence[PublishedRow], distinct: Callable[[str], str]
) -> list[Board]:
    """The boards with the published rows of their benchmark and metric, and boards of the others.

    Args:
        boards: measured ones; the main board of a benchmark comes before its variants.
        rows: published rows.
        distinct: makes ids.
    """
    groups: dict[tuple[Task, str, str], list[PublishedRow]] = {}
    for row in rows:
        groups.setdefault((row.task, row.benchmark, row.metric), []).append(row)
    found = []
    for board in boards:
        # Only the main board gets rows: it comes first.
        group = groups.pop((board.task, board.benchmark, board.metric), [])
        entries = _entries(group, (board.metric, *board.metrics), distinct)
        found.append(replace(board, published=entries))
    for (task, benchmark, metric), group in groups.items():
        found.append(
            Board(
                id=distinct(f"{benchmark}-{metric}"),
                task=task,
                benchmark=benchmark,
                version="",
                metric=metric,
                unit=group[0].unit.replace("pictures", "images"),
                scale=1.0,
                averaging="",
                rewards=(metric,),
                tasks=tuple(dict.fromkeys(part for row in group for part in row.tasks)),
                metrics=(),
                prompts=0,
                prompts_sha256="",
                entries=(),
                published=_entries(group, (metric,), distinct),
            )
        )
    return found


def by_score(entry: BoardEntry) -> tuple[bool, float, str]:
    """A key that sorts entries by score, best first, and those without a score last."""
    score = entry.score.score
    return score is None, -(score or 0.0), entry.label


def _entries(
    rows: Sequence[PublishedRow], metrics: Iterable[str], distinct: Callable[[str], str]
) -> tuple[BoardEntry, ...]:
    known = tuple(metrics)
    found = []
    for row in rows:
        protocol = {
            "size": row.resolution,
            "steps": row.steps,
            "guidance": row.guidance,
            "weights": row.weights,
            "evaluator": row.evaluator,
            "prompts rewritten": None if row.rewriter is None else "yes" if row.rewriter else "no",
        }
        found.append(
            BoardEntry(
                id=distinct(f"published-{row.benchmark}-{row.model}"),
                model=row.model,
                label=row.model,
                score=_printed(float(row.score)),
                tasks={part: _printed(float(value)) for part, value in row.tasks.items()},
                unranked="published",
                trained_on=row.trained_on,
                trained_metrics=trained_metrics(row.trained_on, known),
                protocol={
                    name: str(value) for name, value in protocol.items() if value is not None
                },
                published=row,
            )
        )
    return tuple(sorted(found, key=by_score))


def _printed(value: float) -> Score:
    return Score(score=value, interval=None, n=0, expected=0)
