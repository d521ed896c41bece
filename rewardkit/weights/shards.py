"""Checkpoints of many files: a folder's files by name, and whether its shards are all there."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

from rewardkit.errors import InputError, describe
from rewardkit.records.documents import read_json

_SHARD = re.compile(r".+-\d{5}-of-\d{5}\.\w+")
_INDEX = ".index.json"


def names_in(folder: Path) -> list[str]:
    """The files below a folder by name, with "/" between folders; hidden ones are left out."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(p.as_posix() for p in paths if not any(s.startswith(".") for s in p.parts))


def check_shards(folder: Path, names: Collection[str], wanted: Callable[[str], bool]) -> None:
    """Refuses a folder whose shards are not those that its indices name.

    Args:
        folder: which.
        names: the files in it that are meant.
        wanted: whether a file that an index names is meant; others may be missing.

    Raises:
        InputError: a shard is missing, or is named by no index.
    """
    known: set[str] = set()
    for index in (name for name in names if name.endswith(_INDEX)):
        inside = index.rpartition("/")[0]
        for shard in _shards(folder / index):
            name = f"{inside}/{shard}" if inside else shard
            known.add(name)
            if wanted(name) and name not in names:
                raise InputError(
                    f"{folder} lacks {name}, which {index} names. Download the folder again"
                )
    extra = sorted(name for name in names if _SHARD.fullmatch(name) and name not in known)
    if extra:
        raise InputError(
            f"{folder} holds {extra[0]}, which no {_INDEX[1:]} names. Delete the file, or download "
            "the folder again"
        )


def _shards(index: Path) -> set[str]:
    try:
        shards = set(read_json(index)["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{index} is no index of shards: {describe(error)}. Download it again"
        ) from error
    if not all(isinstance(shard, str) for shard in shards):
        raise InputError(f"{index} is no index of shards: a name is no text. Download it again")
    return shards
