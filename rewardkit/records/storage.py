"""Files that survive a kill: atomic writes, strict JSON, append-only journals."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO, NamedTuple, Self, final

from rewardkit.errors import InputError
from rewardkit.records.disk import unwritable, writing
from rewardkit.records.documents import DamagedDocument, parse_json

# A sync costs milliseconds, a batch can cost fewer. Only a power cut can take what was not synced.
SYNC_SECONDS = 1.0


@contextmanager
def atomic_write(path: str | PathLike[str]) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends without an error.

    Readers see the old file or the whole new one, never a part. The folder is created; a symbolic
    link is followed; the temporary keeps the suffix, since many writers choose the format by it.

    Raises:
        InputError: there can be no regular file at `path`, or the disk does not take it.
    """
    check_place(path)
    # Replacing the link itself would leave the file it names unchanged, and /dev/stdout is a link.
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f"{_hidden(target)}{secrets.token_hex(4)}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Not tempfile: its files are 0600, and os.replace would hand that on to the target.
        temporary.open("xb").close()
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with writing(path, temporary):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def check_place(path: str | PathLike[str]) -> None:
    """Refuses a path where no regular file can be.

    Raises:
        InputError: a folder or a device is there, or its name is too long.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 any path-like
    except (FileNotFoundError, NotADirectoryError):
        return  # the latter is told by whoever makes the folder
    except OSError as error:
        raise unwritable(path, error) from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"cannot write {path!r}: {error}. Name another file.") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"cannot write {path}: it is not a regular file. Name a file.")


def remove_leftovers(path: str | PathLike[str]) -> None:
    """Removes the temporaries that killed writers of `path` left beside it.

    To be called by who alone may write `path` now: a temporary of a living writer would go too.
    """
    target = Path(os.path.realpath(path))
    ours = re.compile(
        f"{re.escape(_hidden(target))}[0-9a-f]{{8}}{re.escape(target.suffix)}", re.DOTALL
    )
    with suppress(OSError):  # what cannot be listed or removed is in nobody's way
        for file in list(target.parent.iterdir()):
            if ours.fullmatch(file.name):
                file.unlink(missing_ok=True)


def _hidden(target: Path) -> str:
    """How temporaries of a file begin: short enough for any name, and of this file alone."""
    stem = target.stem
    if len(stem) > 32:
        digest = hashlib.sha256(os.fsencode(stem)).hexdigest()
        stem = f"{stem[:23]}-{digest[:8]}"
    return f".{stem}."


def write_json(path: str | PathLike[str], value: Any) -> None:
    """Writes `value` as indented strict JSON, atomically.

    Raises:
        ValueError: a number in it is NaN or infinite.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(_dump(value, indent=2))


class Difference(NamedTuple):
    """The first place where two JSON values differ: a dotted key, and both values as JSON text."""

    key: str
    before: str
    after: str


def first_difference(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Difference | None:
    """The first differing key, in the order of `before`; None where the two say the same."""
    for key in dict.fromkeys((*before, *after)):
        one, other = (side.get(key) for side in (before, after))
        if key in before and key in after:
            if one == other:
                continue
            if isinstance(one, Mapping) and isinstance(other, Mapping):
                return first_difference(one, other, f"{prefix}{key}.")
        texts = (
            json.dumps(side[key], ensure_ascii=False) if key in side else "absent"
            for side in (before, after)
        )
        return Difference(f"{prefix}{key}", *texts)
    return None


@final
class Journal:
    """An append-only file of JSON lines: a header, then one line per committed batch of rows.

    A batch is there whole or not at all, and once `append` has returned, killing the process loses
    nothing. A journal has one writer at a time; a second one is refused.

    Attributes:
        rows: the rows that were in the file when it was opened.
    """

    def __init__(self, file: IO[bytes], path: Path, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self._file, self._path = file, path
        self._synced = time.monotonic()

    @classmethod
    def open(cls, path: str | PathLike[str], header: Mapping[str, Any]) -> Self:
        """The journal at `path`, created, or continued where its header is the given one.

        Raises:
            InputError: the file is no journal, is damaged, was started with another header, or is
                being written by another process.
        """
        path = Path(path)
        check_place(path)
        if not path.exists() or path.stat().st_size == 0:
            # Atomic, so that a journal whose header is torn cannot exist: what looks like one is
            # somebody else's file.
            with atomic_write(path) as temporary:
                temporary.write_bytes(_dump(header))
        try:
            # Without a buffer: what the disk refused must not be written again on closing.
            file = path.open("ab", buffering=0)
        except OSError as error:
            raise unwritable(path, error) from error
        try:
            _lock(file, path)
            found, rows, length = _parse(path)
            # Through JSON first: a tuple was stored as a list, and is no difference.
            difference = first_difference(found, json.loads(_dump(header)))
            if difference is not None:
                key, before, after = difference
                raise InputError(
                    f"{path} was started with {key} = {before}, not {after}. Repeat the first "
                    "request to continue it, or delete the file to start afresh."
                )
            with writing(path):
                file.truncate(length)  # the torn line of a writer that was killed
        except BaseException:
            file.close()
            raise
        remove_leftovers(path)
        return cls(file, path, rows)

    @staticmethod
    def read(path: str | PathLike[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The header and the rows of a journal, which may be being written; changes nothing.

        Raises:
            InputError: there is no file, it is no journal, or it is damaged.
        """
        header, rows, _ = _parse(Path(path))
        return header, rows

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Commits a batch of rows.

        Raises:
            ValueError: a number in it is NaN or infinite; nothing was written.
            InputError: the disk does not take it; the batches before it are whole.
        """
        left = memoryview(_dump(rows))
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

    def __enter__(self) -> Self:
        """The journal itself; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the journal."""
        # An error that is under way says more than one of closing.
        with suppress(*(() if error is None else (InputError,))):
            self.close()

    def _sync(self) -> None:
        with writing(self._path):
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def _lock(file: IO[bytes], path: Path) -> None:
    """Keeps other processes from writing the journal for as long as it is open.

    Raises:
        InputError: another process is writing it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: one writer at a time is then the user's care
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"{path} is being written by another process. Wait for it, or name another file."
        ) from error
    except OSError:  # some file systems of clusters have no locks
        return


def lock(path: Path) -> BinaryIO:
    """A file, made where it is missing, that no other process can lock until it is closed.

    Raises:
        InputError: another process holds it, or it cannot be made.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}. Name another folder.") from error
    try:
        _lock(file, path)
    except BaseException:
        file.close()
        raise
    return file


def _dump(value: Any, indent: int | None = None) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    # A file name that is not UTF-8 arrives as lone surrogates; backslashreplace writes \udcXX,
    # which is JSON's own escape for them, so that such a name too reads back as it was.
    return text.encode("utf-8", "backslashreplace") + b"\n"


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
        return None  # never a header, never a batch: refused where the line's number is known
