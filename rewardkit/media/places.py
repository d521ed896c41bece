"""Paths: the files below folders and behind patterns, and the names that ids are made of."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from rewardkit.errors import UsageError
from rewardkit.media.files import quoted


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, or a link to one."""
    try:
        return path.is_dir()
    except OSError:  # it lies where one may not look; as a file it will say so when opened
        return False


def walk(folder: Path, unreadable: list[str]) -> Iterator[Path]:
    """Every file below a folder, in no order; links are followed, hidden names left out.

    Args:
        folder: where to start.
        unreadable: folders that cannot be listed are added here, with the reason.
    """
    # Not by recursion: folders may lie deeper than Python calls. Each place of the stack is what is
    # left of one folder, and (device, inode) of it: a link back to one of those above is a loop and
    # ends there, as in `find -L`.
    stack = [_listed(folder, unreadable)]
    above = {stack[0][0]}
    while stack:
        here, children = stack[-1]
        child = next(children, None)
        if child is None:
            above.discard(here)
            stack.pop()
        elif not is_folder(child):
            yield child
        else:
            below, inside = _listed(child, unreadable)
            if below is not None and below not in above:
                above.add(below)
                stack.append((below, inside))


def _listed(folder: Path, unreadable: list[str]) -> tuple[tuple[int, int] | None, Iterator[Path]]:
    """(device, inode) of a folder, and what it holds; None and nothing if it cannot be listed."""
    try:
        status = folder.stat()
        children = [child for child in folder.iterdir() if not child.name.startswith(".")]
    except OSError as error:
        unreadable.append(f"{quoted(folder)}: {error.strerror}")
        return None, iter(())
    return (status.st_dev, status.st_ino), iter(children)


def match(pattern: str, unreadable: list[str]) -> set[Path]:
    """Every file a glob pattern matches, and every file below a folder it matches.

    `**` stands for any number of folders. It is not left to `glob`, which would run through a link
    loop forty times, and through two of them for ever.

    Raises:
        UsageError: the pattern matches nothing, or has a second `**`.
    """
    head, tail = PurePath(pattern), ""
    if "**" in head.parts:
        cut = head.parts.index("**")
        tail = "/".join(head.parts[cut + 1 :])
        head = PurePath(*head.parts[:cut])
    if "**" in PurePath(tail).parts:
        raise UsageError(f"a pattern has at most one **; {pattern!r} has more")
    found: set[Path] = set()
    for place in map(Path, glob.glob(str(head))):  # noqa: PTH207 Path.glob takes no absolute one
        if not is_folder(place):
            found.add(place)
            continue
        for file in walk(place, unreadable):
            below = file.relative_to(place)
            # PurePath.match compares from the right, which is what ** before `tail` means.
            if not tail or any(path.match(tail) for path in (below, *below.parents)):
                found.add(file)
    if not found and not unreadable:
        raise UsageError(f"the pattern {pattern!r} matches no file")
    return found


def fixed_part(pattern: str) -> Path:
    """The folders of a pattern before its first wildcard."""
    fixed = Path()
    for part in PurePath(pattern).parent.parts:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def absolute(path: str | Path) -> str:
    """A path from the root, without `..`; links in it stay as they are named."""
    return os.path.abspath(path)  # noqa: PTH100 resolve() would follow the links


def without_suffix(path: str) -> str:
    """A path without its extension, with "/" between its parts."""
    whole = PurePath(path)
    return (whole.parent / whole.stem).as_posix()
