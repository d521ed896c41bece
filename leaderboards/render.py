"""Tables as Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from leaderboards.cells import Cell, Value
from leaderboards.latex import latex
from leaderboards.tables import BoardTable

# A spreadsheet takes a cell that begins so for a formula; it looks behind white space too.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # and their full-width forms


def markdown(tables: Sequence[BoardTable]) -> str:
    """A paragraph, a table and its footnotes each; the highest values bold."""
    return "\n\n".join(map(_markdown, tables)) + "\n"


def comma_separated(tables: Sequence[BoardTable]) -> str:
    """One table of the rows of all, a row per model and board, in full precision.

    A column that a board does not have is empty in its rows, and so is what is unknown. A text that
    a spreadsheet would take for a formula gets a `'` before it, because names come from others.
    """
    rows = [{**table.board, **row} for table in tables for row in table.records()]
    names = dict.fromkeys(name for row in rows for name in row)
    file = io.StringIO()
    writer = csv.DictWriter(file, list(names), lineterminator="\n")
    writer.writerow({name: _csv(name) for name in names})
    for row in rows:
        writer.writerow({name: _csv(value) for name, value in row.items()})
    return file.getvalue()


def latex_tables(tables: Sequence[BoardTable]) -> str:
    r"""A `table` for each, for `\usepackage{booktabs}`."""
    return "\n\n".join(["% \\usepackage{booktabs}", *map(latex, tables)]) + "\n"


def json_text(tables: Sequence[BoardTable]) -> str:
    """Everything, in full precision."""
    documents: list[dict[str, Any]] = [
        {
            **table.board,
            "title": table.title,
            "about": table.about,
            "rows": table.records(),
            "notes": list(table.footnotes),
        }
        for table in tables
    ]
    return json.dumps({"tables": documents}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


#: Writers by the name of a format.
FORMATS: dict[str, Callable[[Sequence[BoardTable]], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "latex": latex_tables,
    "json": json_text,
}


def escape_markdown(text: str) -> str:
    """Text that stays text in a cell or a line: no mark-up, no HTML, no end of a cell."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*\[\]|~$])", r"\\\1", line)
    # Within a word it is no mark-up, and names have many.
    line = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)
    # What would begin a list or a heading.
    line = re.sub(r"^(#|[-+](?=\s))", r"\\\1", line)
    return re.sub(r"^(\d+)([.)])(?=\s)", r"\1\\\2", line)


def _markdown(table: BoardTable) -> str:
    heads = [escape_markdown(column.name) for column in table.columns]
    lines = [
        f"**{escape_markdown(table.title)}**: {escape_markdown(table.about)}.",
        "",
        _line(heads),
        _line(["---:" if column.number else "---" for column in table.columns]),
        *(_line(list(map(_cell, row))) for row in table.rows),
    ]
    if table.footnotes:
        lines += ["", *(f"- {escape_markdown(note)}" for note in table.footnotes)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    if cell.best:
        text = f"**{text}**"
    if cell.interval is not None:
        text += f" ({escape_markdown(f'{cell.interval[1]} .. {cell.interval[2]}')})"
    return " ".join((text, *cell.marks))


def _csv(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    # A lone carriage return is not quoted by `csv`, and begins a row for many programs.
    text = re.sub(r"\r\n?", "\n", str(value))
    formula = text.lstrip().startswith(_FORMULA) or text.startswith(("\t", "\n"))
    return f"'{text}" if isinstance(value, str) and formula and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
