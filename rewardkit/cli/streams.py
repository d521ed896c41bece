"""What a machine can refuse a command: closed streams, full disks, too little memory."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rewardkit.cli.terminal import echo
from rewardkit.errors import describe
from rewardkit.records.disk import refusal


def open_standard_streams() -> None:
    """Opens streams that the shell closed (`>&-`) on /dev/null.

    Otherwise the next file that is opened takes the stream's number, and what libraries print goes
    into that file.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


@contextmanager
def reporting_disk_errors_of_threads() -> Iterator[None]:
    """Prints disk errors in threads of libraries, such as TensorBoard's writer, as one line each.

    Code that waits for the thread gets the error itself.
    """
    before = threading.excepthook

    def report(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value
        reason = refusal(error) if isinstance(error, OSError) else None
        if reason is None:
            before(args)
        else:
            echo(f"Warning: {reason}", err=True)

    threading.excepthook = report
    try:
        yield
    finally:
        threading.excepthook = before


def machine_refusal(error: OSError | MemoryError | RuntimeError) -> str | None:
    """An error of the disk or of memory as one sentence; None for a mistake in code."""
    if isinstance(error, BrokenPipeError):
        return None  # click ends quietly: the reader of the pipe has closed it
    if isinstance(error, OSError):
        if _stdout_is_broken():
            return f"cannot write to stdout: {error.strerror or describe(error)}"
        return refusal(error)
    text = str(error)
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, which need not be imported
        or "can't allocate memory" in text
        or "Storage size calculation overflowed" in text
    ):
        reason = f" ({text.splitlines()[0]})" if text else ""
        return f"not enough memory{reason}. Use a smaller batch, or smaller or fewer inputs"
    return None


def _stdout_is_broken() -> bool:
    """Whether stdout cannot be written; the rest is then dropped, or Python would fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return True
    return False
