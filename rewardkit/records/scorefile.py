"""The output of a scoring run: a table, its provenance beside it, a journal while it is made.

    scores.parquet             the table, whole or not there
    scores.parquet.meta.json   what made it, when, with which versions and weights
    scores.parquet.journal     finished batches of a run that has not ended; gone when it has

Whatever moment a run is killed at, opening the same output again continues it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Self, final

from rewardkit.errors import InputError
from rewardkit.records.differences import first_difference
from rewardkit.records.documents import read_json
from rewardkit.records.journal import Journal
from rewardkit.records.rows import Row, check_format, read_rows, write_rows
from rewardkit.records.storage import check_place, remove_leftovers, write_json

# File systems stamp files by a clock that can lag the one `time.time()` reads by a few ms.
_CLOCK_SLACK = 0.05
_START_AFRESH = "Choose another output, or --overwrite to score everything again"


def meta_path(table: str | PathLike[str]) -> Path:
    """The path of a score table's provenance."""
    return Path(f"{table}.meta.json")


@dataclass(frozen=True)
class Seen:
    """The file of a row, as it was when it was read.

    Attributes:
        at: when it was opened, in seconds since the epoch, by our clock.
        file: size, times of change in nanoseconds and inode, "SIZE MTIME CTIME INODE"; None where
            there was no file, or the row is of a version that did not write it down.
    """

    at: float
    file: str | None

    @classmethod
    def of(cls, path: Path) -> Self:
        """The file at `path` now."""
        return cls(time.time(), _identity(path))


@final
class ScoreFile(AbstractContextManager["ScoreFile"]):
    """Rows by id, written as they come; without a path they are only kept in memory.

    Attributes:
        rows: the rows so far, including those of earlier runs.
    """

    def __init__(
        self,
        path: Path | None,
        made_by: Mapping[str, Any],
        rewards: Sequence[str],
        with_total: bool,
    ) -> None:
        self.rows: dict[str, Row] = {}
        self._path, self._made_by = path, made_by
        self._rewards, self._with_total = rewards, with_total
        self._seen: dict[str, Seen] = {}
        self._journal: Journal | None = None

    @classmethod
    def open(
        cls,
        path: str | PathLike[str] | None,
        made_by: Mapping[str, Any],
        rewards: Sequence[str],
        *,
        with_total: bool,
        overwrite: bool,
    ) -> Self:
        """The output at `path`, holding what earlier runs with the same `made_by` left there.

        Args:
            path: the table, .parquet, .csv or .jsonl; None to write nothing.
            made_by: the settings that decide the numbers.
            rewards: the score columns.
            with_total: whether there is a column `total`.
            overwrite: drop what is there; the old table stays until the new one is whole.

        Raises:
            UsageError: the suffix is unknown.
            InputError: the file there was made with other settings, or is no score table.
        """
        file = cls(None if path is None else Path(path), made_by, rewards, with_total)
        if file._path is not None:
            check_format(file._path)
            journal = Path(f"{path}.journal")
            # Now, and not after hours of scoring.
            for place in (file._path, meta_path(file._path), journal):
                check_place(place)
            if overwrite:
                journal.unlink(missing_ok=True)
            elif file._path.exists():
                file._take_table(file._path)
            try:
                file._journal = Journal.open(journal, made_by)
            except InputError as error:
                raise InputError(f"{error} {_START_AFRESH}") from error
            for place in (file._path, meta_path(file._path)):
                remove_leftovers(place)
            try:
                for line in file._journal.rows:
                    file._take(*_restored(line))
            except InputError as error:
                file._journal.close()
                raise InputError(
                    f"{journal} is not a journal of rewardkit: {error}. Remove it, or --overwrite"
                ) from error
        return file

    def _take_table(self, path: Path) -> None:
        try:
            meta = read_json(meta_path(path))
            read_at = _time(meta["oldest_read"])
            files = {key: _file(value) for key, value in meta.get("files", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
            raise InputError(
                f"{path} exists, and {meta_path(path)}, which would say what made it, cannot be "
                f"read. {_START_AFRESH}"
            ) from error
        found = {key: meta.get(key) for key in self._made_by}
        # Through JSON first: a tuple was stored as a list, and is no difference.
        difference = first_difference(found, json.loads(json.dumps(self._made_by)))
        if difference is not None:
            raise InputError(
                f"{path} was made with {difference.key} = {difference.before}, and now it is "
                f"{difference.after}. {_START_AFRESH}"
            )
        for row in read_rows(path).rows:
            self._take(row, Seen(read_at, files.get(row.id)))

    def _take(self, row: Row, seen: Seen) -> None:
        self.rows[row.id] = row
        self._seen[row.id] = seen

    def reconcile(self, prompts: Mapping[str, str | None], paths: Mapping[str, str]) -> None:
        """Compares earlier rows with the prompts and files of this run, by id.

        A row whose file has changed since it was read is dropped, so that it is scored again. Early
        versions recorded no identity of files: their row is kept if the file is older than its
        reading.

        Raises:
            InputError: an earlier row has no file in this run, or had another prompt.
        """
        before = list(self.rows.values())
        for row in before:
            if row.id not in prompts:
                raise InputError(
                    f"{self._path} holds {len(before)} rows, and {row.id!r} is not among the "
                    f"{len(prompts)} files given now. {_START_AFRESH}"
                )
            if (row.prompt or "") != (prompts[row.id] or ""):
                raise InputError(
                    f"{self._path} was made with the prompt {row.prompt!r} for {row.id!r}, and now "
                    f"it is {prompts[row.id]!r}. {_START_AFRESH}"
                )
            seen, path = self._seen[row.id], Path(paths[row.id])
            now = _identity(path)
            # Where an identity is known, clocks are not compared: ours may have been ahead, or the
            # file system's behind, and then a file that was changed since would look older.
            known = seen.file is not None
            if now is not None and (now == seen.file if known else _is_older(path, seen.at)):
                self._seen[row.id] = Seen(seen.at, now)
            else:
                del self.rows[row.id], self._seen[row.id]

    def add(self, rows: Iterable[tuple[Seen, Row]]) -> None:
        """Commits rows, each with the file it was read from; they survive a kill of the process."""
        lines = []
        for seen, row in rows:
            self._take(row, seen)
            lines.append({**asdict(row), "read_at": seen.at, "file": seen.file})
        if self._journal is not None and lines:
            self._journal.append(lines)

    def finish(self, order: Sequence[str], about: Mapping[str, Any]) -> None:
        """Writes the table, with rows in the given order of ids, and its provenance."""
        if self._path is None or self._journal is None:
            return
        oldest = min((self._seen[i].at for i in order), default=0.0)
        files = {i: self._seen[i].file for i in order if self._seen[i].file is not None}
        # In this order a kill between any two lines leaves what `open` continues from: a table
        # always has its provenance, and the journal goes when both are whole.
        provenance = {**self._made_by, "oldest_read": oldest, **about, "files": files}
        write_json(meta_path(self._path), provenance)
        write_rows(
            self._path, [self.rows[i] for i in order], self._rewards, with_total=self._with_total
        )
        self._journal.remove()

    def __exit__(self, *error: object) -> None:
        """Closes the journal and keeps it."""
        if self._journal is not None:
            self._journal.__exit__(*error)


def _restored(line: dict[str, Any]) -> tuple[Row, Seen]:
    """A row of a journal, and its file as it was read."""
    record = dict(line)
    seen = Seen(_time(record.pop("read_at", None)), _file(record.pop("file", None)))
    return Row.of(record), seen


def _time(value: Any) -> float:
    """Seconds since the epoch."""
    # Written so that NaN, which is neither more nor less than anything, is refused.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**53:
        raise InputError(f"a time is a number of seconds; {value!r} was given")
    return float(value)


def _file(value: Any) -> str | None:
    """What `_identity` wrote."""
    if not isinstance(value, str | None):
        raise InputError(f"the identity of a file is text; {value!r} was given")
    return value


def _identity(path: Path) -> str | None:
    """A text that changes when a file is changed or replaced; None without a file."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    # The change time cannot be set back, so a file copied over with its old date is seen too.
    parts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return " ".join(map(str, parts))


def _is_older(path: Path, read_at: float) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return max(status.st_mtime, status.st_ctime) <= read_at - _CLOCK_SLACK
