"""Prompts for items: from a file, one text for all, the items' names, or text files beside them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

from rewardkit.errors import InputError, UsageError
from rewardkit.media.files import quoted, read_text
from rewardkit.media.places import absolute, without_suffix
from rewardkit.media.sources import Item
from rewardkit.media.tables import TABLE_SUFFIXES, read_table
from rewardkit.records.documents import parse_json


def attach(
    items: Sequence[Item],
    *,
    file: str | Path | None = None,
    text: str | None = None,
    from_name: bool = False,
) -> list[Item]:
    """The items with prompts. One that has a prompt from its manifest keeps it.

    At most one source may be given. With none, `photo.txt` beside `photo.png` is its prompt.

    Args:
        items: as `rewardkit.media.sources.find` returns them.
        file: .jsonl, .csv or .parquet rows with `prompt` and `id` or `path`, or .json
            `{"id": "prompt"}`: matched by id, by path (from the file's folder or from here), or by
            id as path without extension; other columns become meta. Rows without id and path, a
            .json list, and .txt with a prompt on each line: matched by order.
        text: one prompt for every item.
        from_name: each item's file name is its prompt: without the extension and a number at the
            end ("-3"), underscores read as spaces, as VBench names clips.

    Raises:
        UsageError: two sources are given, or `file` has another extension.
        InputError: a file cannot be read (the line is named), matches no item, matches one twice,
            or, matched by order, has another number of prompts than there are items.
    """
    if (file is not None) + (text is not None) + from_name > 1:
        raise UsageError("prompts come from one source: a file, one text, or the names")
    if file is not None:
        return _from_file(items, Path(file))
    if text is not None:
        return [_given(item, text) for item in items]
    if from_name:
        return [_given(item, _name_as_prompt(item.path)) for item in items]
    return [_given(item, _beside(item)) for item in items]


_PACKAGE = "package:"


@dataclass(frozen=True)
class PromptLine:
    """A prompt of a file.

    Attributes:
        where: file and line, as error messages begin.
        prompt: the text.
        keys: what may name its item, the surest first; without any, its place in the file does.
        meta: the other columns of its line.
    """

    where: str
    prompt: str
    keys: Sequence[str] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


def _given(item: Item, prompt: str | None, meta: Mapping[str, Any] | None = None) -> Item:
    return dataclasses.replace(
        item,
        prompt=item.prompt if item.prompt is not None else prompt,
        meta={**(meta or {}), **item.meta},
    )


def _name_as_prompt(path: str) -> str | None:
    return re.sub(r"-\d+$", "", PurePath(path).stem).replace("_", " ").strip() or None


def _beside(item: Item) -> str | None:
    path = Path(item.path)
    prompt = path.parent / f"{path.stem}.txt"
    try:
        if item.prompt is not None or prompt == path or not prompt.stat().st_size:
            return None
    except (OSError, ValueError):  # most often: there is none
        return None
    return read_text(prompt).strip() or None


def _from_file(items: Sequence[Item], file: Path) -> list[Item]:
    lines = read(file)
    if any(line.keys for line in lines):
        return _by_key(items, lines, file)
    if len(lines) != len(items):
        raise InputError(
            f"{quoted(file)} names no items, so its prompts are matched by order, but it has "
            f"{len(lines)} prompts for {len(items)} items. Add an id or a path to each"
        )
    return [_given(i, line.prompt, line.meta) for i, line in zip(items, lines, strict=True)]


def _by_key(items: Sequence[Item], lines: Sequence[PromptLine], file: Path) -> list[Item]:
    by_id = {item.id: item.id for item in items}
    by_path = {absolute(item.path): item.id for item in items}
    found: dict[str, PromptLine] = {}
    for line in lines:
        if not line.keys:
            raise InputError(f"{line.where}: no 'id' or 'path', which other lines have")
        for key in line.keys:
            match = (
                by_id.get(key)
                or by_path.get(absolute(file.parent / key))
                or by_path.get(absolute(key))
                or by_id.get(without_suffix(key))
            )
            if match is None:
                continue
            if match in found:
                raise InputError(
                    f"{line.where}: {key!r} has a prompt already: {found[match].where}"
                )
            found[match] = line
            break
    if not found:
        raise InputError(
            f"{quoted(file)} has no prompt for any item: it names {lines[0].keys[0]!r}, the first "
            f"item is {items[0].id!r} ({items[0].path!r})"
        )
    return [
        _given(item, found[item.id].prompt, found[item.id].meta) if item.id in found else item
        for item in items
    ]


def read(source: str | Path) -> list[PromptLine]:
    """The prompts of a file, in its order; `attach` says which formats there are.

    Args:
        source: a path, or package:NAME/FILE for one that an installed Python package carries.

    Raises:
        UsageError: the extension is none of those, or there is no such package.
        InputError: the file cannot be read, a line is malformed (it is named), or there are none.
    """
    file = _in_package(source) if str(source).startswith(_PACKAGE) else Path(source)
    suffix = file.suffix.lower()
    if suffix == ".txt":
        return _read_txt(file)
    if suffix == ".json":
        return _read_json(file)
    if suffix not in TABLE_SUFFIXES:
        raise UsageError(
            f"{quoted(file)} is no prompt file: .jsonl, .csv, .parquet, .json and .txt are read"
        )
    lines = []
    for row in read_table(file):
        prompt = row.text("prompt")
        if prompt is None:
            raise InputError(f"{row.where}: no 'prompt'; it has: {sorted(row.values)}")
        keys = [key for key in (row.text("id"), row.text("path")) if key is not None]
        lines.append(PromptLine(row.where, prompt, keys, row.other_than("id", "path", "prompt")))
    return lines


def _read_txt(file: Path) -> list[PromptLine]:
    prompts = [line.strip() for line in read_text(file).rstrip().split("\n")]
    lines = [PromptLine(f"{quoted(file)}, line {n}", prompt) for n, prompt in enumerate(prompts, 1)]
    for line in lines:
        if not line.prompt:  # dropped, it would move all prompts after it to the wrong items
            raise InputError(f"{line.where}: an empty line where a prompt should be")
    return lines


def _read_json(file: Path) -> list[PromptLine]:
    value = parse_json(read_text(file), quoted(file))
    if not isinstance(value, dict | list):
        raise InputError(
            f'{quoted(file)} holds a {type(value).__name__}; accepted are ["prompt", ...], in the '
            'order of the items, and {"id": "prompt", ...}'
        )
    pairs = value.items() if isinstance(value, dict) else [(None, prompt) for prompt in value]
    lines = []
    for number, (key, prompt) in enumerate(pairs, start=1):
        where = f"{quoted(file)}, {f'entry {number}' if key is None else repr(key)}"
        if not isinstance(prompt, str):
            raise InputError(f"{where}: a prompt is text; {prompt!r} was given")
        lines.append(PromptLine(where, prompt, [] if key is None else [key]))
    if not lines:
        raise InputError(f"{quoted(file)} has no prompts")
    return lines


def _in_package(source: str | Path) -> Path:
    name, _, inside = str(source).removeprefix(_PACKAGE).partition("/")
    try:
        return Path(str(files(name).joinpath(inside)))
    except (ImportError, ValueError, TypeError) as error:  # the last: a module that is no package
        raise UsageError(
            f"{source} names no package that is installed here: package:NAME/FILE is meant, such "
            "as package:rewardkit.shapes/lists/held-out.jsonl"
        ) from error
