"""The rows of a table or a JSON file, each with where it stands, for error messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.errors import InputError
from rewardkit.media.delimited import read_cells
from rewardkit.media.files import open_file, quoted, read_text
from rewardkit.records.documents import DamagedDocument, parse_json
from rewardkit.records.parquet import read_batches

TABLE_SUFFIXES = frozenset({".jsonl", ".csv", ".tsv", ".parquet", ".json"})

# DiffusionDB's name for the prompt, in {"x.png": {"p": "a cat", "se": 1}}.
_DIFFUSION_DB = "p"


@dataclass(frozen=True)
class TableRow:
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
            raise InputError(f"{self.where}: {column!r} is text; {_shown(value)} was given")
        return value

    def name(self, column: str) -> str | None:
        """As `text`, of a column that names things: 7.0, as pandas has whole numbers, is "7".

        Raises:
            InputError: the value is no text and no whole number.
        """
        value = self.values.get(column)
        if isinstance(value, float) and value.is_integer():
            return str(int(value))
        if isinstance(value, bytes) or (isinstance(value, Mapping) and "bytes" in value):
            raise InputError(
                f"{self.where}: {column!r} holds the file itself, as Hugging Face datasets do. "
                "Write its bytes to a file, and name that"
            )
        return self.text(column)

    def other_than(self, *columns: str | None) -> dict[str, Any]:
        """The values of all other columns."""
        return {key: value for key, value in self.values.items() if key not in columns}


def read_table(path: str | Path) -> list[TableRow]:
    """The rows of a table whose format its extension names; blank lines are passed over.

    Of .json, `[{...}, ...]` is read, and what is in order or by name: `["a cat", ...]` are rows
    with `prompt` alone; `{"a.png": "a cat"}` and `{"a.png": {"p": "a cat"}}`, as DiffusionDB has
    it, are rows with `path`.

    Raises:
        InputError: the extension is not one of `TABLE_SUFFIXES`, the file cannot be opened or
            read, a line is malformed (it is named), or there are no rows.
    """
    readers = {
        ".jsonl": _read_jsonl,
        ".csv": _read_csv,
        ".tsv": _read_csv,
        ".parquet": _read_parquet,
        ".json": _read_json,
    }
    suffix = Path(path).suffix.lower()
    if suffix not in readers:
        raise InputError(
            f"{quoted(path)} is not a table: its extension is {suffix!r}; accepted are "
            f"{', '.join(readers)}"
        )
    rows = readers[suffix](Path(path))
    if not rows:
        raise InputError(f"{quoted(path)} has no rows")
    return rows


def column(rows: Iterable[TableRow], names: Sequence[str]) -> list[str]:
    """The columns that some row has and that are among `names`, in the order of `names`.

    Capitals are forgiven: "Prompt" is `prompt`, where there is no `prompt`.
    """
    present = dict.fromkeys(key for row in rows for key in row.values)
    folded: dict[str, str] = {}
    for key in present:
        folded.setdefault(key.casefold(), key)
    found = (name if name in present else folded.get(name) for name in names)
    return [name for name in found if name is not None]


def _read_jsonl(path: Path) -> list[TableRow]:
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


def _read_json(path: Path) -> list[TableRow]:
    try:
        value = json.loads(read_text(path), object_pairs_hook=_once)
    except RecursionError:
        raise InputError(f"{quoted(path)} is not JSON: nested too deep") from None
    except ValueError as error:
        raise InputError(f"{quoted(path)} is not JSON: {error}") from error
    if isinstance(value, dict):
        entries = [(f"{quoted(path)}, {key!r}", key, entry) for key, entry in value.items()]
    elif isinstance(value, list):
        entries = [
            (f"{quoted(path)}, entry {n}", None, entry) for n, entry in enumerate(value, start=1)
        ]
    else:
        raise InputError(
            f'{quoted(path)} holds a {type(value).__name__}; accepted are ["prompt", ...], in the '
            'order of the items, {"id": "prompt", ...} and [{"path": ..., "prompt": ...}, ...]'
        )
    if not entries:
        raise InputError(f"{quoted(path)} has no prompts and names no files")
    return [_row(where, _entry(where, key, entry)) for where, key, entry in entries]


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: json would take the last of two in silence."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} appears twice")
        found[name] = value
    return found


def _entry(where: str, key: str | None, entry: Any) -> dict[str, Any]:
    name = {} if key is None else {"path": key}
    if isinstance(entry, str):
        return {**name, "prompt": entry}
    if isinstance(entry, dict):
        if key is not None and _DIFFUSION_DB in entry and "prompt" not in entry:
            entry = {"prompt": entry[_DIFFUSION_DB], **entry}
            del entry[_DIFFUSION_DB]
        return {**entry, **name}
    if isinstance(entry, list) and key is not None:
        raise InputError(
            f"{where}: holds a list of {len(entry)}, as the HPS benchmark has prompts by style: "
            "it does not say which file each belongs to. Give one list, or a table with a path"
        )
    raise InputError(f"{where}: a prompt is text; {_shown(entry)} was given")


def _read_csv(path: Path) -> list[TableRow]:
    return [
        _row(f"{quoted(path)}, line {number}", {key: value or None for key, value in cells.items()})
        for number, cells in read_cells(path)
    ]


def _read_parquet(path: Path) -> list[TableRow]:
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


def _row(where: str, values: Mapping[str, Any]) -> TableRow:
    return TableRow(where, {key: value for key, value in values.items() if value is not None})


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
