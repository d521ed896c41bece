"""Tables on the terminal and in pipes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# A pipe has no width: nothing may be cut or wrapped there, for a program may read it.
_UNBOUNDED = 10_000


def console(stream: TextIO | None = None) -> Console:
    """A rich console on `stream` (stdout), as wide as a terminal, or unbounded in a pipe."""
    from rewardkit.cli.console import SafeConsole

    stream = stream or sys.stdout
    width = None if stream.isatty() else _UNBOUNDED
    return SafeConsole(file=stream, width=width, highlight=False)
