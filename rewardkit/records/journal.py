"""Append-only journals: what a run has finished, kept whenever its process is killed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from os import PathLike
from pathlib import Path
from typing import IO, Any, Self, final

from rewardkit.errors import InputError
from rewardkit.records.differences import first_difference
from rewardkit.records.disk import unwritable, writing
from rewardkit.records.documents import DamagedDocument, parse_json
from rewardkit.records.locks import lock_open_file
from rewardkit.records.storage import atomic_write, check_place, json_bytes, remove_leftovers

# A sync costs milliseconds, a batch can cost fewer. Only a power cut can take what was not synced.
SYNC_SECONDS = 1.0


@final
class Journal(AbstractContextManager["Journal"]):
    """An append-only file of JSON lines: a header, then one line per committed batch of rows.

    A batch is there whole or not at all, and once `append` has returned, killing the process loses
    nothing. A journal has one writer at a time; a second writer is refused.

    Attributes:
        rows: the rows that were in the file when it was opened.
    """

    def __init__(self, file: IO[bytes], path: Path, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self._file, self._path = file, path
        self._synced = time.monotonic()

    @classmethod
    def open(cls, path: str | PathLike[str], header: Mapping[str, Any]) -> Self:
        """Opens the journal at `path`: a new one, or one to continue if its header is the same.

        Raises:
            InputError: the file is no journal, is damaged, was started with another header, or is
                being written by another process.
        """
        path = Path(path)
        check_place(path)
        if not path.exists() or path.stat().st_size == 0:
            # Atomic, so that no journal has half a header: a file that seems to is no journal.
            with atomic_write(path) as temporary:
                temporary.write_bytes(json_bytes(header))
        try:
            # Without a buffer: what the disk refused must not be written again on closing.
            file = path.open("ab", buffering=0)
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            lock_open_file(file, path)
            found, rows, length = _parse(path)
            _check_header(path, found, header)
            with writing(path):
                file.truncate(length)  # the torn line of a writer that was killed
        except BaseException:
            file.close()
            raise
        remove_leftovers(path)
        return cls(file, path, rows)

    @staticmethod
    def read(
        path: str | PathLike[str], header: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The header and the rows of a journal, which may be being written; changes nothing.

        Raises:
            InputError: there is no file, it is no journal, is damaged, or was started with another
                header than `header`, if one is given.
        """
        found, rows, _ = _parse(Path(path))
        if header is not None:
            _check_header(Path(path), found, header)
        return found, rows

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Commits a batch of rows.

        Raises:
            ValueError: a number in it is NaN or infinite; nothing was written.
            InputError: the disk does not take it; the batches before it are whole.
        """
        left = memoryview(json_bytes(rows))
        length = os.fstat(self._file.fileno()).st_size
        try:
            with writing(self._path):
                while left:
                    left = left[self._file.write(left) :]
        except BaseException:
            with suppress(OSError):
                self._file.truncate(length)
            raise
        if time.monotonic() - self._synced >= SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        """Brings everything to the disk and closes the file.

        Raises:
            InputError: the disk does not take it.
        """
        if not self._file.closed:
            with self._file:
                self._sync()

    def remove(self) -> None:
        """Closes the journal and removes its file, where somebody has not done so already."""
        self.close()
        with writing(self._path):
            self._path.unlink(missing_ok=True)

    def __exit__(self, *error: object) -> None:
        """Closes the journal."""
        # An error in the block says more than one of closing.
        with suppress(*([InputError] if error[0] else [])):
            self.close()

    def _sync(self) -> None:
        with writing(self._path):
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def _check_header(path: Path, found: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    """Refuses a journal that was started with another header."""
    # Through JSON first: a tuple was stored as a list, and is no difference.
    difference = first_difference(found, json.loads(json_bytes(header)))
    if difference is not None:
        key, before, after = difference
        raise InputError(
            f"{path} was started with {key} = {before}, not {after}. Repeat the first request to "
            "continue it, or delete the file to start afresh."
        )


def _parse(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """Header, rows, and the length in bytes of the whole lines, which a torn one may follow."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}. Name a journal.") from error
    length = content.rfind(b"\n") + 1
    rows: list[dict[str, Any]] = []
    header: Any = None
    for number, line in enumerate(content[:length].split(b"\n")[:-1], start=1):
        value = _load(line)
        if number == 1:
            header = value
        elif isinstance(value, list) and all(isinstance(row, dict) for row in value):
            rows.extend(value)
        else:
            raise InputError(
                f"{path} is damaged or not a journal of rewardkit: line {number} is not a JSON "
                "list of rows. Name another file, or delete this one to start afresh."
            )
    if not isinstance(header, dict):
        raise InputError(
            f"{path} is not a journal of rewardkit: its first line is not a JSON object. Name "
            "another file."
        )
    return header, rows, length


def _load(line: bytes) -> Any:
    try:
        return parse_json(line, "")
    except DamagedDocument:
        return None  # never a header or a batch: refused where the number of the line is known
