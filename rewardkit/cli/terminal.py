"""Output for people. Every printed line passes here, so that no file name controls the terminal.

A file name, a prompt or the text of an error can hold escape sequences that clear the screen, set
the title or hide what follows. They are shown escaped. Files that commands write keep the
exact text.
"""

from __future__ import annotations

import logging
import re
from typing import final

import click

# C0 but tab and line feed, DEL, C1, and Unicode's Bidi_Control, which reorders what is shown.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    r"""A text with its control characters escaped: `\x1b` for ESC, `\u202e` for right-to-left.

    Above ASCII the form is JSON's, whose own writer escapes the rest: JSON stays JSON.
    """
    return _CONTROL.sub(_escaped, text)


def echo(message: str = "", *, err: bool = False, nl: bool = True) -> None:
    """As `click.echo`, with control characters escaped."""
    click.echo(shown(message), err=err, nl=nl)


@final
class LogHandler(logging.Handler):
    """Log records as lines on stderr.

    Args:
        prefix: what each line begins with.
    """

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(f"{prefix}%(levelname)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one record."""
        try:
            echo(self.format(record), err=True)
        except Exception:
            self.handleError(record)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"
