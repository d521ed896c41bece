"""Where media come from: files, folders, globs, stdin and manifests, as one ordered list of items.

Nothing is opened here but manifests. A file that is missing or broken becomes an item like any
other and fails when it is read, as one row of the result.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple

from rewardkit.errors import InputError, UsageError
from rewardkit.media.batch import Kind
from rewardkit.media.decoding import CLIP_SUFFIXES
from rewardkit.media.images import image_suffixes
from rewardkit.media.manifests import read_manifest
from rewardkit.media.places import (
    absolute,
    fixed_part,
    is_folder,
    match,
    walk,
    without_suffix,
)
from rewardkit.media.tables import TABLE_SUFFIXES


class _Columns(NamedTuple):
    """What manifests call the columns; None where nothing is said."""

    paths: str | None
    prompts: str | None
    references: Collection[str]


@dataclass(frozen=True)
class Item:
    """One picture or clip to be scored.

    Attributes:
        id: its name in results: a manifest's own id, else the path below the root of the inputs
            with "/" and, where that stays unique, without its extension.
        path: as it can be opened from here; bytes that are not UTF-8 are surrogate escapes.
        prompt: None where it has none (yet, see `rewardkit.media.prompts`).
        meta: the other columns of its manifest line.
        problem: why it cannot be scored as asked; None where nothing is known against it.
        references: the files of the media it is compared with, by name, such as "first_frame".
    """

    id: str
    path: str
    prompt: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    references: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What the inputs hold.

    Attributes:
        kind: what all items are; None if there are pictures and clips.
        items: in the order of the inputs; those of a folder or glob sorted by the bytes of their
            paths, so that every machine has the same order.
        skipped: files of a folder or glob left out for their extension, except prompts that stand
            beside a picture under its name.
        unreadable: sub-folders that could not be listed, with the reason.
    """

    kind: Kind | None
    items: Sequence[Item]
    skipped: Sequence[str]
    unreadable: Sequence[str]


def find(
    inputs: Sequence[str],
    kind: Kind | None = None,
    *,
    stdin: BinaryIO | None = None,
    path_column: str | None = None,
    prompt_column: str | None = None,
    references: Collection[str] = (),
) -> Found:
    """The media that `inputs` name.

    An input is a file, a folder (searched to any depth, links followed, hidden names left out), a
    glob pattern (`**` too), a manifest (a table, see `rewardkit.media.manifests`), or `-` for paths
    on `stdin`, separated by NUL where there is one, else by newline. In folders and globs the
    extension decides what counts; everything else is taken as it is.

    Args:
        inputs: at least one.
        kind: "image" or "video"; None takes both.
        stdin: what `-` reads.
        path_column: the column of manifests that names the files.
        prompt_column: the column of manifests with the prompts.
        references: the columns of manifests that name reference media, such as "first_frame".

    Raises:
        UsageError: an input does not exist, or a column is named and there is no manifest that has
            it.
        InputError: a manifest is malformed, two items have one id, or there is nothing to score.
    """
    columns = _Columns(path_column, prompt_column, references)
    parts = [_expand(source, stdin, columns) for source in inputs]
    if columns[:2] != (None, None) and not any(part.from_table for part in parts):
        raise UsageError(
            "--path-column and --prompt-column name columns of a table, but no table is given. "
            "Give a manifest, or prompts with -p FILE"
        )
    entries = [entry for part in parts for entry in part.entries]
    unreadable = [reason for part in parts for reason in part.unreadable]
    kept = [e for e in entries if e.named or kind_of_file(e.path) in _kinds(kind)]
    if not kept:
        wanted = {"image": "picture", "video": "clip", None: "picture or clip"}[kind]
        raise InputError(_nothing(inputs, wanted, entries, unreadable))
    root = os.path.commonpath([absolute(base) for part in parts for base in part.bases])
    beside = {f"{without_suffix(e.path)}.txt" for e in kept}
    taken = {e.path for e in kept} | beside
    skipped = [e.path for e in entries if e.path not in taken]
    present = {known for e in kept if (known := kind_of_file(e.path)) is not None}
    found = kind or (None if len(present) > 1 else next(iter(present), "image"))
    return Found(found, _with_ids(kept, root), skipped, unreadable)


def kind_of_file(path: str) -> Kind | None:
    """Whether a file is a picture or a clip, by its extension; None if that says neither."""
    suffix = PurePath(path).suffix.lower()
    if suffix in image_suffixes():
        return "image"
    return "video" if suffix in CLIP_SUFFIXES else None


def _kinds(kind: Kind | None) -> tuple[Kind, ...]:
    return ("image", "video") if kind is None else (kind,)


@dataclass(frozen=True)
class _Entry:
    path: str
    named: bool  # by the user, one by one: taken whatever its extension
    id: str | None = None
    prompt: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """What one input holds; `bases` are the folders its ids are relative to, if it is alone."""

    bases: Sequence[str]
    entries: Sequence[_Entry]
    unreadable: Sequence[str] = ()
    from_table: bool = False


def _expand(source: str, stdin: BinaryIO | None, columns: _Columns) -> _Part:
    path = Path(source)
    if source == "-":
        return _from_stdin(stdin)
    unreadable: list[str] = []
    if source and is_folder(path):  # Path("") is the current folder, "" a variable left unset
        return _from_files(path, walk(path, unreadable), unreadable)
    if os.path.lexists(source):  # before patterns: brackets may be part of a name
        if path.suffix.lower() in TABLE_SUFFIXES:
            return _from_manifest(path, columns)
        return _Part([str(path.parent)], [_Entry(source, named=True)])
    if glob.has_magic(source):
        return _from_files(fixed_part(source), match(source, unreadable), unreadable)
    raise UsageError(f"{source!r} does not exist. Give a file, a folder, a pattern or - for stdin")


def _from_files(base: Path, files: Iterable[Path], unreadable: list[str]) -> _Part:
    ordered = sorted((str(file) for file in files), key=os.fsencode)
    return _Part([str(base)], [_Entry(path, named=False) for path in ordered], unreadable)


def _from_stdin(stdin: BinaryIO | None) -> _Part:
    if stdin is None:
        raise UsageError("paths are to be read from stdin (-), but there is none")
    data = stdin.read()
    if b"\0" in data:
        names = data.split(b"\0")
    else:
        names = [name.removesuffix(b"\r") for name in data.split(b"\n")]
    paths = [os.fsdecode(name) for name in names if name]
    return _Part([str(Path(p).parent) for p in paths], [_Entry(p, named=True) for p in paths])


def _from_manifest(manifest: Path, columns: _Columns) -> _Part:
    bases, entries = [], []
    for line in read_manifest(manifest, *columns):
        inside = Path(absolute(line.path)).is_relative_to(absolute(manifest.parent))
        bases.append(str(manifest.parent if inside else line.path.parent))
        entries.append(
            _Entry(str(line.path), True, line.id, line.prompt, line.meta, line.references)
        )
    return _Part(bases, entries, from_table=True)


def _with_ids(entries: Sequence[_Entry], root: str) -> list[Item]:
    names = [Path(os.path.relpath(absolute(e.path), root)).as_posix() for e in entries]
    stems = Counter(without_suffix(name) for name in names)
    items: dict[str, Item] = {}
    for entry, name in zip(entries, names, strict=True):
        stem = without_suffix(name)
        key = entry.id if entry.id is not None else stem if stems[stem] == 1 else name
        if key in items:
            raise InputError(
                f"two inputs have the id {key!r}: {items[key].path!r} and {entry.path!r}. Give "
                "each file once, or ids of your own in a manifest"
            )
        items[key] = Item(key, entry.path, entry.prompt, entry.meta, references=entry.references)
    return list(items.values())


def _nothing(
    inputs: Sequence[str], wanted: str, entries: Sequence[_Entry], unreadable: Sequence[str]
) -> str:
    reason = f"nothing to score in {', '.join(map(repr, inputs))}: "
    if entries:
        reason += f"{len(entries)} files, none with the extension of a {wanted}, such as "
        reason += repr(entries[0].path)
    else:
        reason += "no files"
    if unreadable:
        reason += f"; {len(unreadable)} folders cannot be listed, such as {unreadable[0]}"
    return reason
