"""Rows of a table and items, put together by the names that a column has, or by order.

What is left over on either side is counted: a prompt that reaches no file, or the wrong one, is
a wrong number that nobody sees.
"""

from __future__ import annotations

import itertools
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewardkit.errors import InputError
from rewardkit.media.columns import PATHS, column_named
from rewardkit.media.files import quoted
from rewardkit.media.places import absolute, without_suffix
from rewardkit.media.sources import Item
from rewardkit.media.tables import TableRow, column


@dataclass(frozen=True)
class Joined:
    """Which row belongs to which item.

    Attributes:
        rows: by the item's id.
        by: the columns that named the items; none where they were matched by order.
        unused: names that are no item's, in the order of the file.
        without: items that have no row, in their order.
    """

    rows: Mapping[str, TableRow]
    by: Sequence[str]
    unused: Sequence[str]
    without: Sequence[Item]


def join(
    items: Sequence[Item], rows: Sequence[TableRow], file: Path, path_column: str | None = None
) -> Joined:
    """The row of each item: by name where a column may hold names, else by order.

    A name is an item's id, its path (from the folder of `file` or from here), or its id with an
    extension; names that differ in Unicode normalisation alone are the same (NFC). Of several
    columns, those count that name every item, if there are such.

    Args:
        items: at least one.
        rows: at least one.
        file: where the rows are from.
        path_column: the column that has the names; None lets what columns are called decide.

    Raises:
        UsageError: there is no column `path_column`.
        InputError: no name is an item's, two are of one item, two columns of a row name different
            items; or, by order, there are not as many rows as items, two orders are possible, or
            a column of another name holds the items' names in another order.
    """
    columns = _columns(rows, path_column)
    if not columns:
        return _by_order(items, rows, file)
    of = _Index(items, file)
    names = {key: [row.name(key) for row in rows] for key in columns}
    ids = {key: [name and of(name) for name in names[key]] for key in columns}
    everyone = {item.id for item in items}
    whole = [key for key in columns if everyone <= set(ids[key])]
    chosen = whole or [key for key in columns if any(ids[key])]
    if not chosen:
        first = next(name for key in columns for name in names[key] if name is not None)
        raise InputError(
            f"{quoted(file)} has no prompt for any item: it names {first!r}, the first item is "
            f"{items[0].id!r} ({items[0].path!r}). Names were read from the columns "
            f"{', '.join(map(repr, columns))}; choose another with --path-column"
        )
    found: dict[str, TableRow] = {}
    unused: list[str] = []
    for number, row in enumerate(rows):
        named_by = {key: name for key in chosen if (name := names[key][number]) is not None}
        if not named_by:
            raise InputError(
                f"{row.where}: no {' or '.join(map(repr, chosen))}, which other lines have"
            )
        matches = {key: id for key in named_by if (id := ids[key][number]) is not None}
        if len(set(matches.values())) > 1:
            raise InputError(
                f"{row.where}: its columns name different items: "
                + ", ".join(f"{key} {named_by[key]!r} is {id!r}" for key, id in matches.items())
                + ". Choose one of them with --path-column"
            )
        if not matches:
            unused.append(next(iter(named_by.values())))
            continue
        key, id = next(iter(matches.items()))
        if id in found:
            raise InputError(
                f"{row.where}: {named_by[key]!r} has a prompt already: {found[id].where}"
            )
        found[id] = row
    return Joined(found, chosen, unused, [item for item in items if item.id not in found])


def _columns(rows: Sequence[TableRow], path_column: str | None) -> list[str]:
    if path_column is not None:
        return [column_named(rows, path_column, "--path-column")]
    found = column(rows, ("id", *PATHS))
    # `name` or `image` of another program may be no name of a file at all.
    usable = [key for key in found if key in ("id", "path") or _names_things(rows, key)]
    return usable or found


def _names_things(rows: Iterable[TableRow], key: str) -> bool:
    try:
        for row in rows:
            row.name(key)
    except InputError:
        return False
    return True


def _by_order(items: Sequence[Item], rows: Sequence[TableRow], file: Path) -> Joined:
    if len(rows) != len(items):
        raise InputError(
            f"{quoted(file)} names no items, so its prompts are matched by order, but it has "
            f"{len(rows)} prompts for {len(items)} items. Add an id or a path to each"
        )
    paths = [item.path for item in items]
    if any(
        os.fsencode(path) < os.fsencode(after) and _natural(path) > _natural(after)
        for path, after in itertools.pairwise(paths)
    ):
        by_number = sorted(items, key=lambda item: _natural(item.path))
        at = next(n for n, item in enumerate(items) if item is not by_number[n])
        as_text, as_numbers = (
            ", ".join(item.id for item in order[max(0, at - 2) : at + 2])
            for order in (items, by_number)
        )
        raise InputError(
            f"{quoted(file)} names no items, so its prompts are matched by order, and two orders "
            f"are possible: as text, {as_text}, ...; by number, {as_numbers}, ... Give each prompt "
            "an id or a path, or number the files with leading zeros"
        )
    key = _column_of_names(items, rows, file)
    if key is not None:
        raise InputError(
            f"{quoted(file)} would be matched by order, but its column {key!r} names these files "
            f"in another order. Match by it with --path-column {key}, or remove the column"
        )
    return Joined({i.id: row for i, row in zip(items, rows, strict=True)}, (), (), ())


def _column_of_names(items: Sequence[Item], rows: Sequence[TableRow], file: Path) -> str | None:
    """A column, whatever it is called, that names these items in another order than theirs.

    Its names are all different, and at least half of the items are among them: a number that counts
    something else, such as a category, repeats or names few.
    """
    of = _Index(items, file)
    for key in dict.fromkeys(key for row in rows for key in row.values):
        if not _names_things(rows, key):
            continue
        names = [row.name(key) for row in rows]
        ids = [name and of(name) for name in names]
        named_items = {id for id in ids if id}
        if (
            len(set(names)) == len(names)
            and 2 * len(named_items) >= len(items)
            and any(id and id != item.id for id, item in zip(ids, items, strict=True))
        ):
            return key
    return None


def _natural(path: str) -> list[tuple[int, int, bytes]]:
    """A key that sorts numbers in names by their value."""
    parts = re.split(r"([0-9]+)", path)
    return [
        (0, int(part[:4000]), b"") if index % 2 else (1, 0, os.fsencode(part))
        for index, part in enumerate(parts)
    ]


def nfc(text: str) -> str:
    """Text in Unicode's composed form: a Mac writes the "é" of a file name as two characters."""
    return unicodedata.normalize("NFC", text)


class _Index:
    """Finds an item's id by a name of it."""

    def __init__(self, items: Sequence[Item], file: Path) -> None:
        self._folder = file.parent
        self._ids = _unique((item.id, item.id) for item in items)
        self._paths = _unique((absolute(item.path), item.id) for item in items)

    def __call__(self, name: str) -> str | None:
        return (
            _get(self._ids, name)
            or _get(self._paths, absolute(self._folder / name))
            or _get(self._paths, absolute(name))
            or _get(self._ids, without_suffix(name))
        )


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """By name as it is and composed; None for what two items are called."""
    found: dict[str, str | None] = {}
    composed: dict[str, str | None] = {}
    for name, id in pairs:
        found[name] = None if name in found else id
        form = nfc(name)
        composed[form] = None if form in composed else id
    return {**composed, **found}


def _get(index: Mapping[str, str | None], name: str) -> str | None:
    return index[name] if name in index else index.get(nfc(name))
