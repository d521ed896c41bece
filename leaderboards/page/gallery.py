"""The same prompt and seed across models: which pictures are shown, and their copies."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, final

from benchmarks.results import place, read_table
from leaderboards.board import Board, Entry
from rewardkit.errors import InputError
from rewardkit.records.provenance import sha256_text
from rewardkit.records.rows import Row

MEDIA = "media"
# Of more models, a reader no longer sees what differs.
MODELS = 12
_LONGEST = 120
_SHOWN_BY_BROWSERS = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}


class Picture(NamedTuple):
    """A picture of a model.

    Attributes:
        label: of the model.
        address: of the copy, from index.html.
        score: the board's metric of this picture; None where it failed.
        seed: of the whole set it is of, as text; None where nothing says it.
    """

    label: str
    address: str
    score: str | None
    seed: str | None


@final
@dataclass(frozen=True)
class Comparison:
    """Pictures of one prompt and sample.

    Attributes:
        task: of the prompt.
        prompt: the text.
        sample: its number.
        seed: of all pictures; None where they differ, or nothing says it.
        pictures: one of each model that has it, in the order of the board.
    """

    task: str
    prompt: str
    sample: int
    seed: str | None
    pictures: tuple[Picture, ...]


@final
@dataclass(frozen=True)
class Gallery:
    """Comparisons of a board, by task, and how many models were left out."""

    comparisons: tuple[Comparison, ...]
    left_out: int

    @property
    def tasks(self) -> tuple[str, ...]:
        """Of the comparisons, in order."""
        return tuple(dict.fromkeys(one.task for one in self.comparisons))


def gallery(board: Board, per_task: int, media: Path) -> Gallery:
    """Copies the pictures of a board into a folder, and says how they stand side by side.

    Args:
        board: whose entries' pictures are shown, where they are on this machine.
        per_task: prompts of each task; those that most models have, then the first ones.
        media: the folder; it is media/ beside index.html in the end.

    Raises:
        InputError: rows cannot be read, or a picture not copied.
    """
    found = [(entry, rows) for entry in board.entries if (rows := _rows(entry))]
    shown = found[:MODELS]
    return Gallery(
        tuple(
            _comparison(
                board, key, [(entry, rows[key]) for entry, rows in shown if key in rows], media
            )
            for key in chosen([rows for _, rows in shown], per_task)
        ),
        left_out=len(found) - len(shown),
    )


def chosen(known: Sequence[Iterable[str]], per_task: int) -> list[str]:
    """The ids of the pictures to show: of each task, those most have, then the first.

    Args:
        known: the ids that each model has.
        per_task: how many; of each prompt one.
    """
    counts: dict[str, int] = {}
    for ids in known:
        for id in ids:
            counts[id] = counts.get(id, 0) + 1
    tasks: dict[str, dict[int, str]] = {}
    for id in sorted(counts, key=lambda one: (-counts[one], place(one)[1:])):
        task, index, _ = place(id)
        prompts = tasks.setdefault(task, {})
        if len(prompts) < per_task:
            prompts.setdefault(index, id)
    kept = [id for prompts in tasks.values() for id in prompts.values()]
    firsts = {task: min(prompts, default=0) for task, prompts in tasks.items()}
    return sorted(kept, key=lambda one: (firsts[place(one)[0]], *place(one)))


def copied(source: Path, name: str, media: Path) -> str:
    """Copies a picture to `media`, as it is, under a name; its address from index.html.

    Raises:
        InputError: it cannot be copied.
    """
    target = media / _file_name(name, source.suffix.lower())
    try:
        media.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except OSError as error:
        raise InputError(f"cannot copy {source} to {target}: {error.strerror}") from error
    return f"{MEDIA}/{target.name}"


def _file_name(name: str, suffix: str) -> str:
    """A name that any file system and any address takes; other names give other ones."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    if plain != name or len(plain) > _LONGEST:
        plain = f"{plain[:_LONGEST]}-{sha256_text(name)[:12]}"
    return f"{plain}{suffix}"


def _rows(entry: Entry) -> dict[str, Row]:
    """The rows whose pictures are on this machine, by id."""
    if entry.result is None or entry.path is None:
        return {}
    if not (entry.path.parent / entry.result.rows).is_file():
        return {}
    return {
        row.id: row
        for row in read_table(entry.result, entry.path).rows
        if Path(row.path).suffix.lower() in _SHOWN_BY_BROWSERS
        and (entry.path.parent / row.path).is_file()
    }


def _comparison(
    board: Board, id: str, found: Sequence[tuple[Entry, Row]], media: Path
) -> Comparison:
    seeds = {entry.protocol.get("seed") for entry, _ in found}
    task, _, sample = place(id)
    return Comparison(
        task=task,
        prompt=next((row.prompt for _, row in found if row.prompt is not None), ""),
        sample=sample,
        seed=seeds.pop() if len(seeds) == 1 else None,
        pictures=tuple(
            Picture(
                label=entry.label,
                address=_copy(entry, row, media),
                score=_score(board, row.scores),
                seed=entry.protocol.get("seed"),
            )
            for entry, row in found
        ),
    )


def _copy(entry: Entry, row: Row, media: Path) -> str:
    assert entry.path is not None, "its rows were read"
    source = entry.path.parent / row.path
    return copied(source, f"{entry.id}.{row.id.replace('/', '.')}", media)


def _score(board: Board, scores: Mapping[str, float | None]) -> str | None:
    value = scores.get(board.metric)
    return None if value is None else f"{board.scale * value:.4g}"
