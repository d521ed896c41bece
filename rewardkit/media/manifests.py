"""Manifests: tables whose rows name files to score, with prompts, ids and whatever else."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.errors import InputError
from rewardkit.media.columns import PATHS, column_named, prompt_column
from rewardkit.media.files import quoted
from rewardkit.media.tables import TableRow, column, read_table


@dataclass(frozen=True)
class Line:
    """A row of a manifest.

    Attributes:
        path: the file, as it can be opened from here.
        id: its own name, where it has one.
        prompt: its prompt, where it has one.
        meta: the other columns.
        references: the files of its reference media by name, as they can be opened from here.
    """

    path: Path
    id: str | None
    prompt: str | None
    meta: Mapping[str, Any]
    references: Mapping[str, str]


def read_manifest(
    manifest: Path,
    paths: str | None = None,
    prompts: str | None = None,
    references: Collection[str] = (),
) -> list[Line]:
    """The rows of a manifest.

    Files are named in `path`, from the manifest's folder, else in the column of PATHS whose files
    are all there; the prompt is in `prompt`, else in `text` or `caption`; the id in `id`.

    Args:
        manifest: .jsonl, .csv, .tsv, .parquet or .json; see `rewardkit.media.tables`.
        paths: the column that names files, if it has another name.
        prompts: the column with the prompts, if it has another name.
        references: the columns that name reference media, such as "first_frame".

    Raises:
        UsageError: there is no such column.
        InputError: it cannot be read, a row names no file, or two columns could name the files.
    """
    rows = read_table(manifest)
    key = (
        column_named(rows, paths, "--path-column") if paths is not None else _paths(manifest, rows)
    )
    text = prompt_column(rows, prompts)
    ids = next(iter(column(rows, ("id",))), "id")
    lines = []
    for row in rows:
        path = row.name(key)
        if not path:
            raise InputError(
                f"{row.where}: no {key!r}, the file to score; it has: {sorted(row.values)}. "
                "Choose another column with --path-column"
            )
        meta = row.other_than("path", "prompt", "id", key, text, ids, *references)
        prompt = None if text is None else row.text(text)
        others = named_references(row, references, manifest.parent)
        lines.append(Line(_there(manifest.parent / path), row.name(ids), prompt, meta, others))
    return lines


def named_references(row: TableRow, columns: Collection[str], folder: Path) -> dict[str, str]:
    """The files that a row names in some columns, by column, as they can be opened from here.

    Args:
        row: of a table.
        columns: those that name reference media; a row may lack some.
        folder: that of the table.

    Raises:
        InputError: one is no text.
    """
    names = {column: row.name(column) for column in columns}
    return {column: str(_there(folder / name)) for column, name in names.items() if name}


def _paths(manifest: Path, rows: Sequence[TableRow]) -> str:
    found = column(rows, PATHS)
    if not found:
        return "path"
    if found[0].casefold() == "path" or len(found) == 1:
        return found[0]
    whole = [key for key in found if all(_is_file(manifest.parent, row, key) for row in rows)]
    if len(whole) != 1:
        raise InputError(
            f"{quoted(manifest)}: the columns {' and '.join(map(repr, whole or found))} could all "
            f"name the files; {'each' if whole else 'none of them'} names only files that exist. "
            "Choose one with --path-column"
        )
    return whole[0]


def _is_file(folder: Path, row: TableRow, key: str) -> bool:
    name = row.values.get(key)
    return isinstance(name, str) and name != "" and os.path.lexists(_there(folder / name))


def _there(path: Path) -> Path:
    """A path as the disk has it, where it differs in Unicode normalisation alone."""
    if not os.path.lexists(path):
        for form in ("NFC", "NFD"):
            other = Path(unicodedata.normalize(form, str(path)))
            if os.path.lexists(other):
                return other
    return path
