"""Ends all processes of a run when one of them fails.

A process that fails cannot tell the others through a collective, since they may be in another one.
It writes to the store that all share; a thread of each process looks there, and ends the process,
which may be waiting in a collective that never ends.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]  # documented, not listed

_PERIOD, _GRACE = 0.5, 2.0  # seconds
_INTERRUPTED = 130


@final
class Watch:
    """Looks for the failure of another process, until it is closed.

    Args:
        store: of all processes; for the main thread.
        own: another connection to it, for the watching thread.
        size: number of processes.
    """

    def __init__(self, store: Store, own: Store, size: int) -> None:
        self._store, self._own, self._size = store, own, size
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops looking."""
        self._closed.set()
        self._thread.join()

    def fail(self, error: BaseException) -> None:
        """Tells the other processes that this one ends, and waits until they have heard.

        Raises:
            SystemExit: another has failed before, whose error is the one to report.
        """
        code = _code(error)
        self._closed.set()
        try:
            first = self._store.add("failures", 1) == 1
            if first:
                self._store.set("failed", str(code))
            else:
                self._store.add("heard", 1)
            # One process holds the store: until all have heard, none may end.
            limit = time.monotonic() + 5
            while self._store.add("heard", 0) < self._size - 1 and time.monotonic() < limit:
                time.sleep(0.05)
        except RuntimeError:  # the store is gone with a process that has told nothing
            first = True
        # Of processes that are interrupted each tells its own caller, which says the same.
        if not first and code != _INTERRUPTED:
            raise SystemExit(1)

    def _look(self) -> None:
        code = 1
        while not self._closed.wait(_PERIOD):
            try:
                if self._own.check(["failed"]):
                    code = int(self._own.get("failed"))
                    self._own.add("heard", 1)
                    break
            except RuntimeError:  # the store is gone with the process that held it
                break
        if self._closed.wait(_GRACE):
            return
        if sys.stderr is not None and sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # a progress bar hides the cursor
            sys.stderr.flush()
        os._exit(code)


def _code(error: BaseException) -> int:
    """The exit code of a process that an error ends."""
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED
    code = getattr(error, "exit_code", getattr(error, "code", 1))  # click's, SystemExit's
    return code if isinstance(code, int) else 1
