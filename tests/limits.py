"""Disks that are full and streams that are closed, without root and without a disk of their own."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process may grow past `size` bytes: writing more fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def rewardkit(
    *args: object, cwd: Path, closed: Sequence[int] = (), **streams: Any
) -> subprocess.CompletedProcess[str]:
    """`rewardkit ARGS` in a process of its own.

    Args:
        args: of the command.
        cwd: where.
        closed: standard streams that are closed, as by `>&-` in a shell.
        streams: as `subprocess.run` takes them; stdout and stderr are captured unless given.
    """

    def close() -> None:
        for number in closed:
            os.close(number)

    return subprocess.run(
        [sys.executable, "-m", "rewardkit.cli", *map(str, args)],
        cwd=cwd,
        text=True,
        preexec_fn=close,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )
