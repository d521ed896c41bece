"""The same prompt and seed across models: which pictures or clips are shown, and their copies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

from benchmarks.reading import read_table
from benchmarks.rows import place
from leaderboards.board import Board, BoardEntry
from leaderboards.page.copies import Copies, Copy
from rewardkit.errors import InputError
from rewardkit.records.rows import Row

# Differences between more models are hard to see.
MODELS = 12


class GalleryItem(NamedTuple):
    """A picture or clip of a model.

    Attributes:
        label: of the model.
        copy: its file on the page.
        score: the board's metric of this item; None where it failed.
        seed: of the whole set it is of, as text; None where nothing says it.
    """

    label: str
    copy: Copy
    score: str | None
    seed: str | None


@final
@dataclass(frozen=True)
class SideBySide:
    """Pictures or clips of one prompt and sample.

    Attributes:
        task: of the prompt.
        prompt: the text.
        sample: its number.
        seed: of all of them; None where they differ, or nothing says it.
        shown: one of each model that has it, in the order of the board.
    """

    task: str
    prompt: str
    sample: int
    seed: str | None
    shown: tuple[GalleryItem, ...]


@final
@dataclass(frozen=True)
class Gallery:
    """Comparisons of a board, by task, and how many models were left out."""

    comparisons: tuple[SideBySide, ...]
    left_out: int

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of the comparisons, in order."""
        return tuple(dict.fromkeys(comparison.task for comparison in self.comparisons))


def gallery(board: Board, per_task: int, copies: Copies, folders: Sequence[Path] = ()) -> Gallery:
    """Copies the pictures or clips of a board, and says how they stand side by side.

    Args:
        board: whose entries' files are shown, where they are on this machine.
        per_task: prompts of each task; those that most models have, then the first ones.
        copies: where to, and of what.
        folders: where files may lie, beside the folder of their result and the one that
            `rewardkit bench` made them in.

    Raises:
        InputError: a copy cannot be written.
    """
    if not per_task:
        return Gallery((), 0)
    named = [Path(os.path.realpath(folder)) for folder in folders]
    found = [(entry, rows) for entry in board.entries if (rows := _rows(entry, copies, named))]
    shown = found[:MODELS]
    comparisons = (
        _comparison(
            board, key, [(entry, *rows[key]) for entry, rows in shown if key in rows], copies
        )
        for key in chosen([rows for _, rows in shown], per_task)
    )
    return Gallery(
        tuple(comparison for comparison in comparisons if comparison.shown),
        left_out=len(found) - len(shown),
    )


def chosen(known: Sequence[Iterable[str]], per_task: int) -> list[str]:
    """The ids of the rows to show: of each task, those most have, then the first.

    Args:
        known: the ids that each model has.
        per_task: how many; of each prompt one.
    """
    counts: dict[str, int] = {}
    for ids in known:
        for id in ids:
            counts[id] = counts.get(id, 0) + 1
    tasks: dict[str, dict[int, str]] = {}
    for id in sorted(counts, key=lambda id: (-counts[id], place(id)[1:])):
        task, index, _ = place(id)
        prompts = tasks.setdefault(task, {})
        if len(prompts) < per_task:
            prompts.setdefault(index, id)
    kept = [id for prompts in tasks.values() for id in prompts.values()]
    firsts = {task: min(prompts, default=0) for task, prompts in tasks.items()}
    return sorted(kept, key=lambda id: (firsts[place(id)[0]], *place(id)))


def _rows(entry: BoardEntry, copies: Copies, named: Sequence[Path]) -> dict[str, tuple[Row, Path]]:
    """The rows whose files are here and may be shown, with their places, by id."""
    if entry.result is None or entry.path is None:
        return {}
    base = entry.path.parent
    if not (base / entry.result.rows).is_file():
        return {}
    try:
        rows = read_table(entry.result, entry.path).rows
        for row in rows:
            place(row.id)
    except InputError:
        return {}  # the board says so of the entry
    folders = [*named, Path(os.path.realpath(base)), *_made_here(entry, base)]
    return {
        row.id: (row, found)
        for row in rows
        if (found := copies.allowed(base, row.path, folders)) is not None
    }


def _made_here(entry: BoardEntry, base: Path) -> list[Path]:
    """The folder that the files of a result were made in, if its card says so too."""
    from benchmarks.cards import making

    if entry.result is None or not entry.result.media.made_here:
        return []
    folder = base / entry.result.media.folder
    try:
        made = making(folder)
    except (OSError, ValueError, InputError):
        return []
    same = made is not None and made.seed == entry.result.protocol.seed
    return [Path(os.path.realpath(folder))] if same else []


def _comparison(
    board: Board, id: str, found: Sequence[tuple[BoardEntry, Row, Path]], copies: Copies
) -> SideBySide:
    task, _, sample = place(id)
    items = tuple(
        GalleryItem(
            label=entry.label,
            copy=copy,
            score=_score(board, row.scores),
            seed=entry.protocol.get("seed"),
        )
        for entry, row, source in found
        if (copy := copies.copy(source, f"{entry.id}.{row.id.replace('/', '.')}")) is not None
    )
    seeds = {item.seed for item in items}
    return SideBySide(
        task=task,
        prompt=next((row.prompt for _, row, _ in found if row.prompt is not None), ""),
        sample=sample,
        seed=seeds.pop() if len(seeds) == 1 else None,
        shown=items,
    )


def _score(board: Board, scores: Mapping[str, float | None]) -> str | None:
    value = scores.get(board.metric)
    return None if value is None else f"{board.scale * value:.4g}"
