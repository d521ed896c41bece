"""The rows of a .jsonl, .csv or .parquet file, each with where it stands, for error messages."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.errors import InputError
from rewardkit.media.files import open_file, quoted, read_text
from rewardkit.records.documents import DamagedDocument, parse_json
from rewardkit.records.parquet import read_batches

TABLE_SUFFIXES = frozenset({".jsonl", ".csv", ".parquet"})


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        where: file and line, as error messages begin.
        values: column -> value. Nulls and the empty cells of a csv are left out.
    """

    where: str
    values: Mapping[str, Any]

    def text(self, column: str) -> str | None:
        """A column's text, or None where the row has none; whole numbers are taken as their digits.

        Raises:
            InputError: the value is neither.
        """
        value = self.values.get(column)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None and not isinstance(value, str):
            raise InputError(f"{self.where}: {column!r} is text; {value!r} was given")
        return value

    def other_than(self, *columns: str) -> dict[str, Any]:
        """The values of all other columns."""
        return {key: value for key, value in self.values.items() if key not in columns}


def read_table(path: str | Path) -> list[Row]:
    """The rows of a table whose format its extension names; blank lines are passed over.

    Raises:
        InputError: the file cannot be opened or read, a line is malformed (it is named), or there
            are no rows.
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    rows = readers[Path(path).suffix.lower()](Path(path))
    if not rows:
        raise InputError(f"{quoted(path)} has no rows")
    return rows


def _read_jsonl(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{quoted(path)}, line {number}"
        try:
            value = parse_json(line, where)
        except DamagedDocument as error:
            raise InputError(f"{where}: {error.reason}: {line[:60]!r}") from error
        if not isinstance(value, dict):
            raise InputError(
                f"{where}: a line is one JSON object, such as "
                f'{{"path": "a.png", "prompt": "a cat"}}; given: {line[:60]!r}'
            )
        rows.append(_row(where, value))
    return rows


def _read_csv(path: Path) -> list[Row]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise InputError(f"{quoted(path)}, line 1: a column is named twice: {header}")
        for cells in reader:
            if not cells:
                continue
            where = f"{quoted(path)}, line {reader.line_num}"
            if len(cells) != len(header):
                raise InputError(
                    f"{where}: {len(cells)} cells under {len(header)} columns. Quote text that "
                    "holds commas"
                )
            rows.append(_row(where, {k: v or None for k, v in zip(header, cells, strict=True)}))
    except csv.Error as error:
        raise InputError(f"{quoted(path)}, line {reader.line_num}: not csv ({error})") from error
    return rows


def _read_parquet(path: Path) -> list[Row]:
    import pyarrow

    with open_file(path) as stream:
        try:
            _, batches = read_batches(stream)
            values = (row for batch in batches for row in batch.to_pylist())
            return [_row(f"{quoted(path)}, row {i}", row) for i, row in enumerate(values, start=1)]
        except MemoryError:
            raise InputError(f"{quoted(path)} does not fit into memory. Split it") from None
        # ValueError: a date or a text that Python has no value for.
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise InputError(f"{quoted(path)} is not a parquet table: {error}") from error
        except InputError as error:
            raise InputError(f"{quoted(path)}: {error}") from error


def _row(where: str, values: Mapping[str, Any]) -> Row:
    return Row(where, {key: value for key, value in values.items() if value is not None})
