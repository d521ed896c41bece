"""The file formats of a table of text and float32 columns: parquet, CSV, JSON lines.

Writers print the shortest decimal that reads back as the same float32. Readers get the
names of the text columns; the others hold numbers. They raise the errors of their libraries, and
InputError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rewardkit.errors import InputError
from rewardkit.records.documents import parse_json
from rewardkit.records.parquet import read_batches

if TYPE_CHECKING:
    import pyarrow as pa


class Format(NamedTuple):
    """How one format is read, given the names of the text columns, and written."""

    read: Callable[[Path, Sequence[str]], pa.Table]
    write: Callable[[pa.Table, Path], None]


def _read_parquet(path: Path, texts: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    # Not pq.read_table: in a folder named key=value it makes that a column.
    with path.open("rb") as file:
        schema, batches = read_batches(file)
        return pa.Table.from_batches(batches, schema)


def _write_parquet(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    with path.open("wb") as file:
        pq.write_table(table, file)


def _read_csv(path: Path, texts: Sequence[str]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    parse = csv.ParseOptions(newlines_in_values=True)
    with path.open("rb") as file, csv.open_csv(file, parse_options=parse) as stream:
        names = stream.schema.names
    # Types are given, not guessed: the id 007 stays what it is, and an empty cell alone is null.
    convert = csv.ConvertOptions(
        column_types={name: pa.string() if name in texts else pa.float32() for name in names},
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with path.open("rb") as file:
        return csv.read_csv(file, parse_options=parse, convert_options=convert)


def _write_csv(table: pa.Table, path: Path) -> None:
    from pyarrow import csv

    with path.open("wb") as file:
        csv.write_csv(table, file)


def _read_jsonl(path: Path, texts: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    # utf-8-sig: programs of Windows begin a file with a byte order mark.
    with path.open(encoding="utf-8-sig") as file:
        lines = [(number, line) for number, line in enumerate(file, start=1) if not line.isspace()]
    records = [_load(line, number) for number, line in lines]
    # What a line leaves out is null, so a file of no lines is a table of no rows.
    names = dict.fromkeys((*texts, *(name for record in records for name in record)))
    return pa.table({name: [record.get(name) for record in records] for name in names})


def _load(line: str, number: int) -> dict[str, Any]:
    record = parse_json(line, f"line {number}")
    if not isinstance(record, dict):
        raise InputError(f"line {number} is not a JSON object")
    return record


def _write_jsonl(table: pa.Table, path: Path) -> None:
    import numpy as np

    def shortest(value: Any) -> Any:
        # float32's text has at most 9 digits, and a float64 prints those as they are.
        return float(str(np.float32(value))) if isinstance(value, float) else value

    with path.open("w", encoding="utf-8", newline="\n") as file:
        for record in table.to_pylist():
            plain = {name: shortest(value) for name, value in record.items()}
            file.write(json.dumps(plain, ensure_ascii=False, allow_nan=False) + "\n")


FORMATS = {
    ".parquet": Format(_read_parquet, _write_parquet),
    ".csv": Format(_read_csv, _write_csv),
    ".jsonl": Format(_read_jsonl, _write_jsonl),
}
