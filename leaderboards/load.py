"""Result files below folders: those of one machine, or of several that were copied together.

Of results that are of one model, benchmark and protocol one counts: the whole before its shards, a
complete one before an incomplete, then the newest. Each that does not count is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from benchmarks.results import Result, clusters, read_result, read_table
from benchmarks.trust import contradiction
from leaderboards.comparable import identity
from rewardkit.errors import InputError, describe
from rewardkit.records.documents import DamagedDocument, read_json

# What lies beside results and pictures, and is known to be no result.
_BESIDE = ("rewardkit.json", "*.meta.json")


@final
@dataclass(frozen=True)
class Loaded:
    """A result and its rows.

    Attributes:
        path: the file.
        result: what it says.
        scores: by the id of a picture, its score by reward, not scaled; None where the file of
            rows is not there, or cannot be read.
        doubt: why its numbers are not to be believed, in a few words; None where its rows give
            them, or are not there.
        cluster: by the id of a picture, its prompt, of `benchmarks.results.clusters`.
    """

    path: Path
    result: Result
    scores: Mapping[str, Mapping[str, float | None]] | None
    doubt: str | None = None
    cluster: Mapping[str, int] = field(default_factory=dict)


def load(paths: Sequence[Path]) -> tuple[list[Loaded], list[str]]:
    """The results at and below `paths`, and what was left out, a sentence each.

    A file that was found in a folder and is damaged is left out: one of many must not take the
    others with it. One that was named is an error.

    Args:
        paths: folders, searched whole, or result files.

    Raises:
        InputError: a folder or file is not there, or a file that was named is no result.
    """
    notes: list[str] = []
    found: dict[Path, tuple[Path, Result]] = {}
    strange, damaged = [], []
    for path in dict.fromkeys(file for one in paths for file in _files(one)):
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
    files = sorted(one for one in path.rglob("*.json") if one.is_file())
    return [one for one in files if not any(one.match(pattern) for pattern in _BESIDE)]


def _is_result(path: Path) -> bool:
    """Whether a file says that it is one; if it lies, reading it fails.

    What measures rewards, of `rewardkit bench preferences`, says its kind, and is none of a model.

    Raises:
        InputError: it is cut short, or cannot be read.
    """
    try:
        told = read_json(path)
    except DamagedDocument as error:
        raise InputError(f"{path} is damaged: it is {error.reason}") from error
    except OSError as error:
        raise InputError(f"{path} is damaged: {describe(error)}") from error
    return isinstance(told, dict) and "schema_version" in told and "kind" not in told


def _one_of_each(
    found: Sequence[tuple[Path, Result]], notes: list[str]
) -> list[tuple[Path, Result]]:
    """Without those that others stand for."""
    groups: dict[str, list[tuple[Path, Result]]] = {}
    for path, result in found:
        groups.setdefault(identity(result), []).append((path, result))
    kept: list[tuple[Path, Result]] = []
    for group in groups.values():
        # By path last, so that what is kept does not depend on the order of folders.
        group.sort(key=lambda one: one[0].as_posix())
        group.sort(key=lambda one: _worth(one[1]), reverse=True)
        whole = [one for one in group if one[1].shard is None]
        stand: dict[str | None, tuple[Path, Result]] = {}
        for path, result in group:
            shard = None if whole else result.shard
            if shard not in stand:
                stand[shard] = (path, result)
                continue
            other, counts = stand[shard]
            notes.append(f"{path} is left out: {_why(counts, result, other)}")
        kept += stand.values()
    return sorted(kept, key=lambda one: one[0].as_posix())


def _worth(result: Result) -> tuple[bool, bool, int, str]:
    return result.shard is None, result.complete, result.n_scored, result.created


def _why(counts: Result, result: Result, path: Path) -> str:
    if counts.pictures.sha256 == result.pictures.sha256 and counts.score == result.score:
        return f"{path} is of the same pictures"
    if result.shard is not None and counts.shard is None:
        return f"{path} is the whole of it"
    what = "has more pictures" if counts.n_scored > result.n_scored else "is newer"
    return f"{path}, of the same model and protocol, {what}"


def _loaded(path: Path, result: Result) -> Loaded:
    """A result with its rows; where they cannot be read, that is the doubt."""
    if not (path.parent / result.rows).is_file():
        return Loaded(path, result, None)
    try:
        table = read_table(result, path)
        scores, cluster = {row.id: row.scores for row in table.rows}, clusters(table)
        return Loaded(path, result, scores, contradiction(result, scores, cluster), cluster)
    except InputError as error:
        return Loaded(path, result, None, f"its rows cannot be read ({describe(error)})")
