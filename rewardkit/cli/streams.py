"""What the machine does to a command: closed streams, full disks, too little memory."""

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
    """Opens what the shell closed (`>&-`) on /dev/null, as if it had been sent there.

    Else the next file that is opened takes the place of the stream, and what libraries print goes
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
def threads_told() -> Iterator[None]:
    """Errors of the disk in threads of libraries, such as TensorBoard's writer, are one line too.

    Whoever waits for the thread meets the error itself.
    """
    before = threading.excepthook

    def tell(args: threading.ExceptHookArgs) -> None:
        error = args.exc_value
        reason = refusal(error) if isinstance(error, OSError) else None
        if reason is None:
            before(args)
        else:
            echo(f"Warning: {reason}", err=True)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


def told_by_the_machine(error: OSError | MemoryError | RuntimeError) -> str | None:
    """An error that is the disk's or the memory's, in one sentence; None for a mistake in code."""
    if isinstance(error, BrokenPipeError):
        return None  # click ends quietly: whoever read us has enough
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
    """Whether what is left to print cannot be; if so it is dropped, or Python would fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return True
    return False
