"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rewardkit.errors import InputError, describe
from rewardkit.records.storage import atomic_write

_NAME = re.compile(r"step-(\d+)\.pt")


def save(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
    """Writes `folder/step-N.pt` whole or not at all, then removes all but the newest `keep`.

    Raises:
        InputError: it cannot be written; what was there before is as it was.
    """
    import torch

    path = folder / f"step-{step:06d}.pt"
    try:
        with atomic_write(path) as temporary:
            torch.save({"step": step, **state}, temporary)
    except (InputError, RuntimeError) as error:  # torch's zip writer raises the latter, disk full
        raise InputError(
            f"checkpoint {path} cannot be written: {describe(error).rstrip('.')}. Make room "
            "for it, and go on with --resume from the one before"
        ) from error
    for old in found(folder)[:-keep]:
        old.unlink()
    return path


def load(path: Path) -> dict[str, Any]:
    """The state in a checkpoint, on the CPU.

    Raises:
        InputError: the file is damaged.
    """
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises whatever its unpickler or zip reader meets
        raise InputError(
            f"checkpoint {path} cannot be read: {error}. Remove it to go on from the one before"
        ) from error


def found(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    named = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()]
    return [path for _, path in sorted((int(name[1]), path) for name, path in named if name)]
