"""Which files a row was scored from, so that a file that has changed is scored again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# File systems stamp files by a clock that can lag the one `time.time()` reads by a few ms.
_CLOCK_SLACK = 0.05


@dataclass(frozen=True)
class Seen:
    """The files of a row, as they were when they were read.

    Attributes:
        at: when they were opened, in seconds since the epoch, by our clock.
        file: size, times of change in nanoseconds and inode, "SIZE MTIME CTIME INODE", of the file
            and then of each of its references, joined by "; ". None where one of them was not
            there, or the row is of a version that did not write it down.
    """

    at: float
    file: str | None

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Self:
        """The files of a row now: its own, and its references."""
        return cls(time.time(), identity(paths))


def identity(paths: Sequence[Path]) -> str | None:
    """A text that changes when a file is changed or replaced; None if one is not there."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except (OSError, ValueError):
            return None
        # The change time cannot be set back, so a file copied over with its old date is seen too.
        parts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        found.append(" ".join(map(str, parts)))
    return "; ".join(found)


def are_older(paths: Sequence[Path], read_at: float) -> bool:
    """Whether all files are older than a time, in seconds since the epoch."""
    try:
        states = [path.stat() for path in paths]
    except OSError:
        return False
    return all(max(state.st_mtime, state.st_ctime) <= read_at - _CLOCK_SLACK for state in states)
