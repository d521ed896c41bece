"""Files that are whole or absent, whenever a process is killed: atomic writes, strict JSON."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any

from rewardkit.errors import InputError
from rewardkit.records.disk import unwritable, writing


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
        return  # whoever makes the folder reports the latter
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
        temporary.write_bytes(json_bytes(value, indent=2))


def json_bytes(value: Any, indent: int | None = None) -> bytes:
    """A value as strict JSON in UTF-8, with a line feed at its end.

    Raises:
        ValueError: a number in it is NaN or infinite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    # A file name that is not UTF-8 arrives as lone surrogates; backslashreplace writes \udcXX,
    # which is JSON's own escape for them, so that such a name too reads back as it was.
    return text.encode("utf-8", "backslashreplace") + b"\n"
