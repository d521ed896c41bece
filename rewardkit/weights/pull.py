"""Weights for a machine without a network: into the cache, or into a folder to carry there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rewardkit.records.storage import atomic_write
from rewardkit.weights.hub import download
from rewardkit.weights.pins import PinnedFile, Snapshot


@dataclass(frozen=True)
class Pulled:
    """Weights that were pulled.

    Attributes:
        name: of the weights.
        path: where the file or the folder is.
        size: in bytes, of all files.
        revision: commit of the repository they are from.
        sha256: of the file; of a folder, see `Located.sha256`.
        files: the sha256 of each file by name.
    """

    name: str
    path: Path
    size: int
    revision: str | None
    sha256: str
    files: dict[str, str]


def pull(weights: PinnedFile | Snapshot, folder: Path | None = None) -> Pulled:
    """Downloads `weights` into the cache and, where a `folder` is given, copies them into it.

    The copy is named as a folder in `REWARDKIT_WEIGHTS` needs it: a file NAME and its suffix, a
    snapshot the folder NAME, with the signs ":" and "/" of a name written "--". What a package
    carries is not copied: it is wherever the package is, with what lies beside it there.

    Raises:
        WeightsError: they cannot be had, or are not the pinned or recorded ones.
        InputError: the folder cannot be written.
    """
    located = download(weights)
    path = located.path
    if isinstance(weights, Snapshot):
        files = [path / name for name in located.files]
        if folder is not None:
            copies = [folder / weights.stem / name for name in located.files]
            path = folder / weights.stem
            for source, copy in zip(files, copies, strict=True):
                _copy(source, copy)
    else:
        files = [path]
        if folder is not None and weights.host != "package":
            path = folder / (weights.stem + located.path.suffix)
            _copy(located.path, path)
    size = sum(file.stat().st_size for file in files)
    return Pulled(weights.name, path, size, located.revision, located.sha256, located.files)


def _copy(source: Path, target: Path) -> None:
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)
