"""A pipeline of which some parts were trained, saved whole: the rest is copied from its source."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import nn

from rewardkit.records.storage import atomic_write
from rewardkit.weights.quiet import quiet

# The files that are read where no variant, such as fp16, is asked for.
_WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)(-\d+-of-\d+)?\.(safetensors|bin)"
)


def save_whole(pipe: Any, parts: Collection[str], source: Path | None, folder: Path) -> None:
    """Writes a pipeline as plain diffusers loads it.

    Frozen networks may be in low precision in memory, so their files are copied.

    Args:
        pipe: of diffusers.
        parts: those that were trained; they are saved from memory.
        source: the folder that the pipeline was loaded from. What it has no files of, or where it
            is None, is saved from memory too, in the dtype it has there.
        folder: where it goes.
    """
    with quiet():  # for the bars: saving warns of no tensor
        for name, component in pipe.components.items():
            if component is None:
                continue
            frozen = isinstance(component, nn.Module) and name not in parts and source is not None
            files = _files(source / name) if frozen and source is not None else []
            if not files:
                component.save_pretrained(folder / name)
            for file in files:
                with atomic_write(folder / name / file.name) as temporary:
                    shutil.copyfile(file, temporary)
        pipe.save_config(folder)


def _files(folder: Path) -> list[Path]:
    """The weights in a folder, in one format, and their settings; nothing without weights."""
    if not folder.is_dir():
        return []
    found = [path for path in sorted(folder.iterdir()) if path.is_file()]
    weights = [path for path in found if _WEIGHTS.fullmatch(path.name)]
    safe = [path for path in weights if path.suffix == ".safetensors"]
    chosen = safe or weights
    return [*chosen, *(path for path in found if path.suffix == ".json")] if chosen else []
