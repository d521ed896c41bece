"""Result files below folders: those of one machine, or of several that were copied together.

Of several results of one model, benchmark and protocol one counts: the whole before its shards, a
complete one before an incomplete one, then the newest. A note names each that does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from benchmarks.reading import read_result, read_table
from benchmarks.results import Result
from benchmarks.rows import ScoredSample, scored
from benchmarks.trust import contradiction
from leaderboards.comparable import identity
from rewardkit.errors import InputError, describe
from rewardkit.media.task import noun_of
from rewardkit.records.documents import DamagedDocument, read_json

# Files beside results and media that are no results.
_BESIDE = ("rewardkit.json", "*.meta.json")


@final
@dataclass(frozen=True)
class LoadedResult:
    """A result and its rows.

    Attributes:
        path: the file.
        result: what it says.
        rows: by id, with unscaled scores; None where the file of rows is not there, or cannot be
            read.
        doubt: why its numbers cannot be trusted, in a few words; None where its rows give them, or
            are not there.
    """

    path: Path
    result: Result
    rows: Mapping[str, ScoredSample] | None
    doubt: str | None = None


def load(paths: Sequence[Path]) -> tuple[list[LoadedResult], list[str]]:
    """The results at and below `paths`, and notes about what was left out, a sentence each.

    A damaged file that was found in a folder is left out, so that the others are still shown. One
    that was named is an error.

    Args:
        paths: folders, searched whole, or result files.

    Raises:
        InputError: a folder or file is not there, or a file that was named is not a result.
    """
    notes: list[str] = []
    found: dict[Path, tuple[Path, Result]] = {}
    strange, damaged = [], []
    for path in dict.fromkeys(file for place in paths for file in _files(place)):
        try:
            if _is_result(path):
                found.setdefault(path.resolve(), (path, read_result(path)))
            else:
                strange.append(str(path))
        except InputError as error:
            if path in paths:
                raise
            damaged.append(describe(error))
    if strange:
        notes.append(f"{_files_are(strange)} no result of a model: {_listed(strange, ', ')}")
    if damaged:
        notes.append(f"{_files_are(damaged)} left out: {_listed(damaged, '; ')}")
    kept = _one_of_each(list(found.values()), notes)
    return [_loaded(path, result) for path, result in kept], notes


def _files_are(texts: Sequence[str]) -> str:
    return "1 JSON file is" if len(texts) == 1 else f"{len(texts)} JSON files are"


def _listed(texts: Sequence[str], mark: str) -> str:
    return mark.join(texts[:3]) + (f"{mark}..." if len(texts) > 3 else "")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"there is no {path}: name a folder of results, or a result file")
    files = sorted(file for file in path.rglob("*.json") if file.is_file())
    return [file for file in files if not any(file.match(pattern) for pattern in _BESIDE)]


def _is_result(path: Path) -> bool:
    """Whether a file says that it is a result of a model; if that is wrong, reading it fails.

    A result of `rewardkit bench preferences` measures rewards, and says so by its `kind`.

    Raises:
        InputError: it is cut short, or cannot be read.
    """
    try:
        document = read_json(path)
    except DamagedDocument as error:
        raise InputError(f"{path} is damaged: it is {error.reason}") from error
    except OSError as error:
        raise InputError(f"{path} is damaged: {describe(error)}") from error
    return isinstance(document, dict) and "schema_version" in document and "kind" not in document


def _one_of_each(
    found: Sequence[tuple[Path, Result]], notes: list[str]
) -> list[tuple[Path, Result]]:
    """One result of each model, benchmark and protocol; the others are named in notes."""
    groups: dict[str, list[tuple[Path, Result]]] = {}
    for path, result in found:
        groups.setdefault(identity(result), []).append((path, result))
    kept: list[tuple[Path, Result]] = []
    for group in groups.values():
        # First by path, so that what is kept does not depend on the order of folders.
        group.sort(key=lambda pair: pair[0].as_posix())
        group.sort(key=lambda pair: _worth(pair[1]), reverse=True)
        whole = [pair for pair in group if pair[1].shard is None]
        stand: dict[str | None, tuple[Path, Result]] = {}
        for path, result in group:
            shard = None if whole else result.shard
            if shard not in stand:
                stand[shard] = (path, result)
                continue
            other, counts = stand[shard]
            notes.append(f"{path} is left out: {_why(counts, result, other)}")
        kept += stand.values()
    return sorted(kept, key=lambda pair: pair[0].as_posix())


def _worth(result: Result) -> tuple[bool, bool, int, str]:
    return result.shard is None, result.complete, result.n_scored, result.created


def _why(counts: Result, result: Result, path: Path) -> str:
    nouns = f"{noun_of(result.benchmark.task)}s"
    if counts.media.sha256 == result.media.sha256 and counts.score == result.score:
        return f"{path} is of the same {nouns}"
    if result.shard is not None and counts.shard is None:
        return f"{path} is the whole of it"
    what = f"has more {nouns}" if counts.n_scored > result.n_scored else "is newer"
    return f"{path}, of the same model and protocol, {what}"


def _loaded(path: Path, result: Result) -> LoadedResult:
    """A result with its rows; where they cannot be read, the doubt says why."""
    if not (path.parent / result.rows).is_file():
        return LoadedResult(path, result, None)
    try:
        table = read_table(result, path)
        rows = dict(zip((row.id for row in table.rows), scored(table), strict=True))
        return LoadedResult(path, result, rows, contradiction(result, table))
    except InputError as error:
        return LoadedResult(path, result, None, f"its rows cannot be read ({describe(error)})")
