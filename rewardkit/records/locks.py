"""Files that one process at a time may hold."""

from __future__ import annotations

from pathlib import Path
from typing import IO, BinaryIO

from rewardkit.errors import InputError


def lock_open_file(file: IO[bytes], path: Path) -> None:
    """Locks an open file against other processes until it is closed.

    Raises:
        InputError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: the user has to see that there is one writer
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
    """Opens and locks a file, which is created if it is missing.

    No other process can lock it until it is closed.

    Raises:
        InputError: another process holds it, or it cannot be made.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}. Name another folder.") from error
    try:
        lock_open_file(file, path)
    except BaseException:
        file.close()
        raise
    return file
