"""Prompts for items: from a file, one text for all, names, metadata, or text files beside them."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Any

from rewardkit.errors import InputError, UsageError
from rewardkit.media.columns import prompt_column as column_of_prompts
from rewardkit.media.embedded import embedded_prompt
from rewardkit.media.files import quoted, read_text
from rewardkit.media.joining import Joined, join
from rewardkit.media.manifests import named_references
from rewardkit.media.sources import Item
from rewardkit.media.tables import TABLE_SUFFIXES, TableRow, read_table

_log = logging.getLogger("rewardkit")


def attach(
    items: Sequence[Item],
    *,
    file: str | Path | None = None,
    text: str | None = None,
    from_name: bool = False,
    from_metadata: bool = False,
    path_column: str | None = None,
    prompt_column: str | None = None,
    references: Collection[str] = (),
) -> list[Item]:
    """The items with prompts. One that has a prompt from its manifest keeps it.

    At most one source may be given. With none, `photo.txt` beside `photo.png` is its prompt.
    Prompts that are no item's, and items without one, are counted in a warning.

    Args:
        items: as `rewardkit.media.sources.find` returns them.
        file: .jsonl, .csv, .tsv, .parquet or .json rows with `prompt` (or `text`, `caption`) and a
            column that names files: `id`, `path`, or what others call it, such as `file_name` or
            `image` (`rewardkit.media.columns`); other columns become meta. How names are compared:
            `rewardkit.media.joining`. Rows without such a column, a .json list of texts, and .txt
            with a prompt on each line: matched by order, where that is the same by letters and by
            numbers.
        text: one prompt for every item.
        from_name: each item's file name is its prompt: without the extension and one number after
            "-" or "_" at the end, underscores read as spaces. So "a cat-3", "a_cat_000003" and
            "a cat" are "a cat"; "route 66" keeps its number.
        from_metadata: what Stable Diffusion's web interface (A1111) and ComfyUI write into files.
        path_column: the column of `file` that names files.
        prompt_column: the column of `file` with the prompts.
        references: the columns of `file` that name reference media, such as "first_frame", from
            its folder. A manifest's own references come first.

    Raises:
        UsageError: two sources are given, `file` has another extension, or it lacks a column that
            is named.
        InputError: a file cannot be read (the line is named), matches no item, matches one twice,
            or, matched by order, has another number of prompts than there are items.
    """
    if (file is not None) + (text is not None) + from_name + from_metadata > 1:
        raise UsageError("prompts come from one source: a file, one text, the names or metadata")
    if file is not None:
        return _from_file(items, Path(file), path_column, prompt_column, references)
    if text is not None:
        return [_with_prompt(item, text) for item in items]
    if from_name:
        return [_with_prompt(item, _name_as_prompt(item.path)) for item in items]
    if from_metadata:
        return _from_metadata(items)
    return [_with_prompt(item, _beside(item)) for item in items]


PACKAGE = "package:"


@dataclass(frozen=True)
class PromptLine:
    """A prompt of a file.

    Attributes:
        where: file and line, as error messages begin.
        prompt: the text.
        meta: the other columns of its line, but for `id` and `path`.
        folder: the folder of the file, from which paths in the line are read.
    """

    where: str
    prompt: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()


def _with_prompt(
    item: Item,
    prompt: str | None,
    meta: Mapping[str, Any] | None = None,
    references: Mapping[str, str] | None = None,
) -> Item:
    return dataclasses.replace(
        item,
        prompt=item.prompt if item.prompt is not None else prompt,
        meta={**(meta or {}), **item.meta},
        references={**(references or {}), **item.references},
    )


def _name_as_prompt(path: str) -> str | None:
    name = re.sub(r"[-_]\d+$", "", PurePath(path).stem).replace("_", " ").strip()
    return None if name.isdecimal() else name or None  # "00000-01.png" has a number, no prompt


def _from_metadata(items: Sequence[Item]) -> list[Item]:
    found = []
    lacking = []
    for item in items:
        try:
            prompt = None if item.prompt is not None else embedded_prompt(item.path)
        except InputError as error:
            found.append(dataclasses.replace(item, problem=str(error)))
            continue
        found.append(_with_prompt(item, prompt))
        if found[-1].prompt is None:
            lacking.append(item.path)
    if lacking:
        _log.warning(f"{len(lacking)} of {len(items)} files hold no prompt, such as {lacking[0]!r}")
    return found


def _beside(item: Item) -> str | None:
    path = Path(item.path)
    prompt = path.parent / f"{path.stem}.txt"
    try:
        if item.prompt is not None or prompt == path or not prompt.stat().st_size:
            return None
    except (OSError, ValueError):  # most often: there is none
        return None
    return read_text(prompt).strip() or None


def _from_file(
    items: Sequence[Item],
    file: Path,
    path_column: str | None,
    prompt_column: str | None,
    references: Collection[str],
) -> list[Item]:
    rows, prompts = _rows(file, prompt_column)
    joined = join(items, rows, file, path_column)
    if joined.by:
        _tell_left_over(joined, file)
    else:
        _log.info(f"prompts matched by order: {len(rows)} prompts, {len(items)} files")
    lines = {
        id: (
            row.text(prompts),
            row.other_than("id", "path", prompts, *references),
            named_references(row, references, file.parent),
        )
        for id, row in joined.rows.items()
    }
    return [_with_prompt(item, *lines[item.id]) if item.id in lines else item for item in items]


def _tell_left_over(joined: Joined, file: Path) -> None:
    if joined.unused:
        n, some = len(joined.unused), ", ".join(map(repr, joined.unused[:3]))
        _log.warning(
            f"{n} of the prompts in {quoted(file)} {'match' if n > 1 else 'matches'} none of the "
            f"files, such as {some}"
        )
    without = [item for item in joined.without if item.prompt is None]
    if without:
        n, some = len(without), ", ".join(repr(item.id) for item in without[:3])
        _log.warning(
            f"{n} file{'s have' if n > 1 else ' has'} no prompt in {quoted(file)}, such as {some}"
        )


def read(source: str | Path, prompt_column: str | None = None) -> list[PromptLine]:
    """The prompts of a file, in its order; `attach` says which formats there are.

    Args:
        source: a path, or package:NAME/FILE for one that an installed Python package carries.
        prompt_column: the column with the prompts; None finds it by its usual names.

    Raises:
        UsageError: the extension is none of those, or there is no such package or column.
        InputError: the file cannot be read, a line is malformed (it is named), or there are none.
    """
    file = in_package(source) if str(source).startswith(PACKAGE) else Path(source)
    rows, prompts = _rows(file, prompt_column)
    return [
        PromptLine(
            row.where, row.text(prompts) or "", row.other_than("id", "path", prompts), file.parent
        )
        for row in rows
    ]


def _rows(file: Path, prompt_column: str | None) -> tuple[list[TableRow], str]:
    """The rows of a file, and the column of their prompts, which are text in all of them."""
    suffix = file.suffix.lower()
    if suffix != ".txt" and suffix not in TABLE_SUFFIXES:
        raise UsageError(
            f"{quoted(file)} is not a file of prompts: accepted are .jsonl, .csv, .tsv, .parquet, "
            ".json and .txt"
        )
    rows = _read_txt(file) if suffix == ".txt" else read_table(file)
    prompts = column_of_prompts(rows, prompt_column)
    for row in rows:
        if prompts is None or row.text(prompts) is None:
            raise InputError(
                f"{row.where}: no {prompts or 'prompt'!r}; it has: {sorted(row.values)}. Rename "
                "the column with the prompts, or name it with --prompt-column (score, generate)"
            )
    assert prompts is not None, "there is a row at least"
    return rows, prompts


def _read_txt(file: Path) -> list[TableRow]:
    prompts = [line.strip() for line in read_text(file).rstrip().split("\n")]
    rows = [
        TableRow(f"{quoted(file)}, line {n}", {"prompt": text}) for n, text in enumerate(prompts, 1)
    ]
    for row in rows:
        if not row.values["prompt"]:  # dropped, it would move all after it to the wrong items
            raise InputError(f"{row.where}: an empty line where a prompt should be")
    return rows


def in_package(source: str | Path) -> Path:
    """The file that package:NAME/FILE names.

    Raises:
        UsageError: there is no such package.
    """
    name, _, inside = str(source).removeprefix(PACKAGE).partition("/")
    try:
        return Path(str(files(name).joinpath(inside)))
    except (ImportError, ValueError, TypeError) as error:  # the last: a module that is no package
        raise UsageError(
            f"{source} names no package that is installed here: package:NAME/FILE is meant, such "
            "as package:rewardkit.shapes/lists/held-out.jsonl"
        ) from error
