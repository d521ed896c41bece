"""JSON and TOML files of users: a value, or an error that says where the text is and what is wrong.

The parsers of the standard library raise three kinds of errors for three kinds of bad text (no
JSON, bytes that are not UTF-8, brackets nested thousands deep). Here there is a single error.
"""

from __future__ import annotations

import json
import stat
import tomllib
from os import PathLike
from pathlib import Path
from typing import Any

from rewardkit.errors import InputError


class DamagedDocument(InputError, ValueError):
    """A text that breaks the rules of its format; also a `ValueError`, as standard parsers raise.

    Attributes:
        reason: what is wrong, such as "not JSON: nested too deep".
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where} is {reason}")
        self.reason = reason


def refuse_pipe(path: str | PathLike[str]) -> None:
    """Refuses pipes and devices, which could make reading wait or go on without end.

    Raises:
        DamagedDocument: a pipe or a device is there.
        OSError: nothing is there.
    """
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DamagedDocument(str(path), "a pipe or a device, not a regular file")


def read_json(path: str | PathLike[str]) -> Any:
    """The value in a JSON file.

    Raises:
        DamagedDocument: the file is not UTF-8 text, no JSON, nested too deep, or a pipe.
        OSError: it cannot be read.
    """
    refuse_pipe(path)
    return parse_json(Path(path).read_bytes(), str(path))


def parse_json(text: str | bytes, where: str) -> Any:
    """The value of a JSON text.

    Args:
        text: with or without a byte order mark; bytes are UTF-8.
        where: file, and line where there is one: the error begins so.

    Raises:
        DamagedDocument: the text is not UTF-8, no JSON, or nested too deep.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return json.loads(text)
    except RecursionError:
        raise DamagedDocument(where, "not JSON: nested too deep") from None
    except ValueError as error:  # a number of more than 4,300 digits too
        raise DamagedDocument(where, f"not JSON: {error}") from error


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The table of a TOML text.

    Args:
        text: the whole file.
        where: the file: the error begins so.

    Raises:
        DamagedDocument: the text is no TOML, or nested too deep.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise DamagedDocument(where, "not TOML: nested too deep") from None
    except ValueError as error:
        raise DamagedDocument(where, f"not TOML: {error}") from error
