"""What this machine remembers of weights: the pin of each first download, and checksums.

Two files in `$HF_HOME/rewardkit`, shared by all processes. `weights.json` is a pin: a score depends
on it, so a damaged one is refused. `checksums.json` only saves time: a damaged one is replaced.
Neither needs to be writable.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rewardkit.errors import InputError, WeightsError, describe
from rewardkit.records.documents import read_json
from rewardkit.records.provenance import sha256_file
from rewardkit.records.storage import write_json

_log = logging.getLogger(__name__)
_unwritable: set[Path] = set()


def home() -> Path:
    """The folder, inside the hub's own."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME, "rewardkit")


def records() -> dict[str, dict[str, Any]]:
    """What first downloads recorded, by name of the weights: repo, revision, checksums.

    Raises:
        WeightsError: the file of it is damaged.
    """
    path = home() / "weights.json"
    try:
        known = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise _damaged(path, describe(error)) from error
    if not isinstance(known, dict):
        raise _damaged(path, "it holds no object")
    for name, entry in known.items():
        if not _is_record(entry):
            raise _damaged(path, f"{name} lacks its repo, its revision, or the sha256 of its files")
    return known


def _is_record(entry: object) -> bool:
    """Whether it says what was downloaded: `file` and `sha256`, or `files` with the sha256 of each.

    The first form is that of one file, the second that of a snapshot.
    """
    if not isinstance(entry, dict):
        return False
    files = entry.get("files")
    if isinstance(files, dict):
        texts = [entry.get("repo"), entry.get("revision"), *files.values()]
    else:
        texts = [entry.get(key) for key in ("repo", "revision", "file", "sha256")]
    return all(isinstance(text, str) for text in texts)


def record(name: str, entry: Mapping[str, Any]) -> None:
    """Adds a first download. Where the disk cannot be written, a warning says that it is no pin.

    Raises:
        WeightsError: the file is damaged, or another process has meanwhile recorded another file.
    """
    path = home() / "weights.json"
    with _alone(path) as writable:
        known = records()
        before = known.get(name, entry)
        if before != entry and before["repo"] == entry["repo"]:
            raise WeightsError(
                f"another process recorded another {name} in {path} meanwhile. Try again"
            )
        if not (writable and _written(path, {**known, name: dict(entry)})):
            _log.warning(
                "Note: %s cannot be written: the commit and checksum of %s are not recorded, and "
                "a later change of them will not be found",
                path,
                name,
            )


def checksum(path: Path) -> str:
    """The sha256 of a file, remembered by its size and modification time: weights are large."""
    stat = path.stat()
    key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    memory = home() / "checksums.json"
    known = _checksums(memory).get(key)
    if known is not None:
        return known
    found = sha256_file(path)
    with _alone(memory) as writable:
        if not (writable and _written(memory, {**_checksums(memory), key: found})):
            if memory not in _unwritable:
                _log.info("%s cannot be written: checksums are computed each time", memory)
            _unwritable.add(memory)
    return found


def _checksums(memory: Path) -> dict[str, str]:
    try:
        known = read_json(memory)
    except (OSError, ValueError):
        return {}
    items = known.items() if isinstance(known, dict) else ()
    return {key: value for key, value in items if isinstance(value, str) and len(value) == 64}


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Keeps other processes from changing a file; False where nothing can be written there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("ab")
    except OSError:
        yield False
        return
    with lock:
        # Windows has no fcntl, and some file systems of clusters no locks: writes are still whole.
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield True


def _written(path: Path, value: Mapping[str, Any]) -> bool:
    try:
        write_json(path, value)
    except (InputError, OSError):
        return False
    return True


def _damaged(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"{path}, which pins weights to what was downloaded first, is damaged: {why}. Correct it, "
        "or delete it: the next load of each file records it again"
    )
