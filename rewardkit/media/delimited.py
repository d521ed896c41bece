"""Tables of cells, as spreadsheets and other programs save them: commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from rewardkit.errors import InputError
from rewardkit.media.files import quoted, read_text

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}


def read_cells(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a .csv or .tsv file: the number of each one's last line, and its cells by column.

    Cells are separated by what a first line such as `sep=;` says, else by commas; a header without
    any comma may have semicolons or tabs instead, as Excel writes where the comma is the decimal
    sign. In .tsv they are separated by tabs. Blanks after a separator are no part of a cell.

    Quotation marks enclose cells that hold separators, line breaks or, doubled, quotation marks.
    In a .tsv without such cells they are part of the text, as in PartiPrompts.

    Raises:
        InputError: the file cannot be read, a column is named twice, or a line has another number
            of cells than the header.
    """
    text = read_text(path)
    said = re.match(r"sep=([,;|\t])\r?\n", text)
    if said:
        text = text[said.end() :]
    separator = said[1] if said else _separator(path, text.partition("\n")[0])
    literal = path.suffix.lower() == ".tsv" and _without_quoting(text)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        strict=True,
        delimiter=separator,
        quoting=csv.QUOTE_NONE if literal else csv.QUOTE_MINIMAL,
        skipinitialspace=True,
    )
    before = 1 if said else 0
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header):
            raise InputError(
                f"{quoted(path)}, line {before + 1}: a column is named twice: {header}"
            )
        for cells in reader:
            if not cells:
                continue
            number = before + reader.line_num
            if len(cells) != len(header):
                name = _NAMES.get(separator, repr(separator))
                raise InputError(
                    f"{quoted(path)}, line {number}: {len(cells)} cells under {len(header)} "
                    f"columns, separated by {name}. Quote text that holds {name}"
                )
            yield number, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        number = before + reader.line_num
        raise InputError(f"{quoted(path)}, line {number}: not csv ({error})") from error


def _separator(path: Path, header: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return next((mark for mark in ",;\t" if mark in header), ",")


def _without_quoting(text: str) -> bool:
    """Whether no cell can be a quoted one: all lines have as many tabs, and no quote is doubled."""
    tabs = {line.count("\t") for line in text.splitlines() if line.strip()}
    return len(tabs) <= 1 and '""' not in text
