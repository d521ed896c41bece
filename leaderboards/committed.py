"""Tables in Markdown files, which must match the results.

    <!-- leaderboard: results/ --benchmark shapes -->
    ... written by `rewardkit leaderboard check --write` ...
    <!-- end of leaderboard -->

Paths are relative to the folder of the file; options are those of `rewardkit leaderboard table`.
Fenced blocks of code are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from rewardkit.errors import InputError, describe
from rewardkit.records.documents import refuse_pipe

_BEGIN = re.compile(r"<!-- leaderboard: (?P<request>.*\S) -->\s*")
_END = "<!-- end of leaderboard -->"
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})")


@final
@dataclass(frozen=True)
class Block:
    """A table in a file.

    Attributes:
        path: the path of the file.
        first: the index of the line after the one that begins it.
        last: the index of the line that ends it.
        request: the options in the line that begins it.
        text: the lines between.
    """

    path: Path
    first: int
    last: int
    request: str
    text: str

    def __str__(self) -> str:
        """Where it is, for people."""
        return f"{self.path}, line {self.first}"


def blocks(path: Path) -> list[Block]:
    """The blocks of a Markdown file.

    Raises:
        InputError: the file cannot be read, or a block does not end.
    """
    lines = _lines(path)
    found = []
    begun: tuple[int, str] | None = None
    for index, line in _outside_code(lines):
        match = _BEGIN.fullmatch(line)
        if match and begun is None:
            begun = index + 1, match["request"]
        elif match or (line.strip() == _END and begun is None):
            raise InputError(
                f"{path}, line {index + 1}: {line.strip()!r} has no partner. A block begins with "
                f"'<!-- leaderboard: RESULTS -->' and ends with {_END!r}"
            )
        elif line.strip() == _END and begun is not None:
            first, request = begun
            found.append(Block(path, first, index, request, "".join(lines[first:index])))
            begun = None
    if begun is not None:
        raise InputError(f"{path}, line {begun[0]}: the block does not end: add {_END!r}")
    return found


def rewritten(path: Path, texts: dict[Block, str]) -> str:
    """The file with other texts in its blocks.

    Raises:
        InputError: the file cannot be read.
    """
    lines = _lines(path)
    for block in sorted(texts, key=lambda block: block.first, reverse=True):
        lines[block.first : block.last] = [texts[block]]
    return "".join(lines)


def _lines(path: Path) -> list[str]:
    try:
        refuse_pipe(path)
        return path.read_text("utf-8").splitlines(keepends=True)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as Markdown: {describe(error)}") from error


def _outside_code(lines: list[str]) -> Iterator[tuple[int, str]]:
    fence = ""
    for index, line in enumerate(lines):
        match = _FENCE.match(line)
        if match and not fence:
            fence = match["fence"]
        elif match and match["fence"].startswith(fence) and not line[match.end() :].strip():
            fence = ""
        elif not fence:
            yield index, line
