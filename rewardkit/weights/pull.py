"""Weights for a machine without a network: into the cache, or into a folder to carry there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rewardkit.records.storage import atomic_write
from rewardkit.weights.hub import Weights, download


@dataclass(frozen=True)
class Pulled:
    """A file of weights that was pulled.

    Attributes:
        name: of the weights.
        path: where the file is.
        size: in bytes.
        revision: commit of the repository it is from.
        sha256: of the file.
    """

    name: str
    path: Path
    size: int
    revision: str | None
    sha256: str


def pull(weights: Weights, folder: Path | None = None) -> Pulled:
    """Downloads `weights` into the cache and, where a `folder` is given, copies them into it.

    The copy is named as a folder in `REWARDKIT_WEIGHTS` needs it: NAME and the file's suffix. What
    a package carries is not copied: it is wherever the package is, with what lies beside it there.

    Raises:
        WeightsError: they cannot be had, or are not the pinned or recorded ones.
        InputError: the folder cannot be written.
    """
    located = download(weights)
    path = located.path
    if folder is not None and weights.host != "package":
        path = folder / (weights.name + located.path.suffix)
        with atomic_write(path) as temporary:
            shutil.copyfile(located.path, temporary)
    return Pulled(weights.name, path, path.stat().st_size, located.revision, located.sha256)
