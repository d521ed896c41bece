"""The output of a scoring run: a table, its provenance beside it, a journal while it is made.

    scores.parquet             the table, whole or not there
    scores.parquet.meta.json   what made it, when, with which versions and weights
    scores.parquet.journal     finished batches of a run that has not ended; gone when it has
    scores.parquet.journal.1   the same of process 1, where a run has several processes

Whatever moment a run is killed at, opening the same output again continues it, in any number of
processes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any, Self, final

from rewardkit.errors import InputError
from rewardkit.records.differences import first_difference
from rewardkit.records.documents import read_json
from rewardkit.records.journal import Journal
from rewardkit.records.rows import Row, check_format, read_rows, write_rows
from rewardkit.records.seen import Seen, are_older, identity
from rewardkit.records.storage import check_place, remove_leftovers, write_json

_START_AFRESH = "Choose another output, or --overwrite to score everything again"


def meta_path(table: str | PathLike[str]) -> Path:
    """The path of a score table's provenance."""
    return Path(f"{table}.meta.json")


@final
class ScoreFile(AbstractContextManager["ScoreFile"]):
    """Rows by id, written as they come; without a path they are only kept in memory.

    Attributes:
        rows: the rows so far, including those of earlier runs.
        made_by: the settings that decide the numbers.
    """

    def __init__(
        self,
        path: Path | None,
        made_by: Mapping[str, Any],
        rewards: Sequence[str],
        with_total: bool,
        writer: int = 0,
    ) -> None:
        self.rows: dict[str, Row] = {}
        self._path, self.made_by = path, made_by
        self._rewards, self._with_total = rewards, with_total
        self._writer = writer
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
        writer: int = 0,
    ) -> Self:
        """The output at `path`, holding what earlier runs with the same `made_by` left there.

        Args:
            path: the table, .parquet, .csv or .jsonl; None to write nothing.
            made_by: the settings that decide the numbers.
            rewards: the score columns.
            with_total: whether there is a column `total`.
            overwrite: drop what is there; the old table stays until the new one is whole.
            writer: the number of this process among those that write rows. The first, 0, opens the
                file before the others, and finishes it.

        Raises:
            UsageError: the suffix is unknown.
            InputError: the file there was made with other settings, or is no score table.
        """
        file = cls(None if path is None else Path(path), made_by, rewards, with_total, writer)
        if file._path is not None:
            check_format(file._path)
            journal = _journal(file._path, writer)
            # Now, and not after hours of scoring.
            for place in (file._path, meta_path(file._path), journal):
                check_place(place)
            if not overwrite:
                if file._path.exists():
                    file._take_table(file._path)
                file._take_journals(file._path)
            elif writer == 0:
                for old in _journals(file._path):
                    old.unlink(missing_ok=True)
            try:
                file._journal = Journal.open(journal, made_by)
            except InputError as error:
                raise InputError(f"{error} {_START_AFRESH}") from error
            if writer == 0:
                for place in (file._path, meta_path(file._path)):
                    remove_leftovers(place)
            try:
                file._take_lines(journal, file._journal.rows)
            except InputError:
                file._journal.close()
                raise
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
        found = {key: meta.get(key) for key in self.made_by}
        # Through JSON first: a tuple was stored as a list, and is no difference.
        difference = first_difference(found, json.loads(json.dumps(self.made_by)))
        if difference is not None:
            raise InputError(
                f"{path} was made with {difference.key} = {difference.before}, and now it is "
                f"{difference.after}. {_START_AFRESH}"
            )
        for row in read_rows(path).rows:
            self._take(row, Seen(read_at, files.get(row.id)))

    def _take_journals(self, path: Path) -> None:
        """Takes the rows of the journals of other processes, which may be running."""
        for journal in _journals(path):
            if journal != _journal(path, self._writer):
                try:
                    lines = Journal.read(journal, self.made_by)[1]
                except InputError as error:
                    raise InputError(f"{error} {_START_AFRESH}") from error
                self._take_lines(journal, lines)

    def _take_lines(self, journal: Path, lines: Iterable[dict[str, Any]]) -> None:
        """Takes the rows of a journal that were not read earlier than those that are here."""
        try:
            # Of two rows of one file in a journal, the later line counts, whatever the clock says.
            found = {row.id: (row, seen) for row, seen in map(_restored, lines)}
        except InputError as error:
            raise InputError(
                f"{journal} is not a journal of rewardkit: {error}. Remove it, or --overwrite"
            ) from error
        for row, seen in found.values():
            known = self._seen.get(row.id)
            if known is None or not seen.at < known.at:
                self._take(row, seen)

    def _take(self, row: Row, seen: Seen) -> None:
        self.rows[row.id] = row
        self._seen[row.id] = seen

    def reconcile(
        self, prompts: Mapping[str, str | None], paths: Mapping[str, Sequence[Path]]
    ) -> None:
        """Compares earlier rows with the prompts and files of this run, by id.

        A row of which a file has changed since it was read is dropped, so that it is scored again.
        Early versions recorded no identity of files: their row is kept if the file is older than
        its reading.

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
            seen, files = self._seen[row.id], paths[row.id]
            now = identity(files)
            # Where an identity is known, clocks are not compared: ours may have been ahead, or the
            # file system's behind, and then a file that was changed since would look older.
            known = seen.file is not None
            if now is not None and (now == seen.file if known else are_older(files, seen.at)):
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

    def gather(self, order: Sequence[str]) -> None:
        """Takes the rows of the other processes, which have closed their journals.

        Args:
            order: the ids that must be there now.

        Raises:
            InputError: rows of some are missing.
        """
        assert self._path is not None
        self._take_journals(self._path)
        lacking = [id for id in order if id not in self.rows]
        if lacking:
            raise InputError(
                f"{len(lacking)} of {len(order)} rows of {self._path}, such as that of "
                f"{lacking[0]!r}, cannot be seen here after all processes have finished. Start all "
                "of them where they share one file system; the same command resumes"
            )

    def finish(self, order: Sequence[str], about: Mapping[str, Any]) -> None:
        """Writes the table, with rows in the given order of ids, and its provenance."""
        if self._path is None or self._journal is None:
            return
        oldest = min((self._seen[i].at for i in order), default=0.0)
        files = {i: self._seen[i].file for i in order if self._seen[i].file is not None}
        # In this order a kill between any two lines leaves what `open` continues from: a table
        # always has its provenance, and the journal goes when both are whole.
        provenance = {**self.made_by, "oldest_read": oldest, **about, "files": files}
        write_json(meta_path(self._path), provenance)
        write_rows(
            self._path, [self.rows[i] for i in order], self._rewards, with_total=self._with_total
        )
        self._journal.remove()
        for journal in _journals(self._path):
            journal.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the journal and keeps it; everything in it is on the disk."""
        if self._journal is not None:
            self._journal.close()

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


def _journal(table: Path, writer: int) -> Path:
    """The path of the journal of one process."""
    return Path(f"{table}.journal{f'.{writer}' if writer else ''}")


def _journals(table: Path) -> list[Path]:
    """The journals beside a table, in the order of their processes."""
    form = re.compile(rf"{re.escape(table.name)}\.journal(?:\.([0-9]{{1,9}}))?", re.DOTALL)
    try:
        matches = [form.fullmatch(file.name) for file in table.parent.iterdir()]
    except OSError:  # there is no such folder yet
        return []
    numbers = {match[0]: int(match[1] or 0) for match in matches if match is not None}
    return [table.with_name(name) for name in sorted(numbers, key=lambda name: numbers[name])]
