"""Names for boards and rows that can be parts of an address, no two the same."""

from __future__ import annotations

import re
from typing import final


@final
class DistinctNames:
    """Gives each text a name that no other has, of letters, digits, `.`, `_` and `-`."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def __call__(self, text: str) -> str:
        """A name made of a text."""
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-") or "unnamed"
        name, number = stem, 2
        while name.casefold() in self._taken:
            name, number = f"{stem}-{number}", number + 1
        self._taken.add(name.casefold())
        return name
