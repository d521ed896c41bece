"""Errors of the disk as one sentence with the next step: full, over quota, a name too long."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from rewardkit.errors import InputError, describe

_CONTINUES = "the same command continues (`grpo train`: with --resume)"
_ROOM = f"Make room; {_CONTINUES}"
_ADVICE = {
    errno.ENOSPC: f"no space left on the disk. {_ROOM}",
    errno.EDQUOT: f"the disk quota is used up. {_ROOM}",
    errno.EFBIG: "it is larger than the limit of files here (ulimit -f). Raise the limit; "
    + _CONTINUES,
    errno.EIO: f"the disk reports an input/output error. Check it; {_CONTINUES}",
}

# Errors that depend on files and not on code: not EPIPE, EBADF and EINVAL.
_OF_FILES = {
    *_ADVICE,
    errno.EACCES,
    errno.EBUSY,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENFILE,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EPERM,
    errno.EROFS,
    errno.ESTALE,
    errno.ETXTBSY,
}


def unwritable(path: str | PathLike[str], error: Exception) -> InputError:
    """The error for a file that cannot be written.

    Args:
        path: the file, as the user named it.
        error: what the system or a writer's library raised.
    """
    number = _number(error)
    if number is None:
        return InputError(
            f"cannot write {path}: {describe(error)}. If the disk is full: {_ROOM.lower()}"
        )
    advice = _ADVICE.get(number) or f"{os.strerror(number)}. Name another file"
    return InputError(f"cannot write {path}: {advice}.")


@contextmanager
def writing(
    path: str | PathLike[str], temporary: str | PathLike[str] | None = None
) -> Iterator[None]:
    """Turns errors of the disk inside the block into an `InputError` that names `path`.

    Args:
        path: the file that is written, as the user named it.
        temporary: what it is called until it is whole.

    Raises:
        InputError: the file cannot be written. Errors about other files stay as they are.
    """
    try:
        yield
    except OSError as error:
        ours = {os.fspath(p) for p in (path, temporary) if p is not None}
        if error.filename is not None and os.fspath(error.filename) not in ours:
            raise
        raise unwritable(path, error) from error
    except Exception as error:
        # safetensors' own class, which is no OSError, ends in "(os error 28)".
        if _number(error) is None:
            raise
        raise unwritable(path, error) from error


def refusal(error: OSError) -> str | None:
    """An error of the system about a file, as one sentence; None for any other error."""
    if error.errno not in _OF_FILES:
        return None
    advice = _ADVICE.get(error.errno) or f"{os.strerror(error.errno)}. Name another file"
    if error.filename is None:  # as when stdout lies on the full disk
        return f"cannot write the output: {advice}."
    return f"cannot read or write {os.fsdecode(error.filename)}: {advice}."


def _number(error: Exception) -> int | None:
    """The errno behind an error, of the system's or of a library written in Rust."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None
