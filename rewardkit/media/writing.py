"""Media as files: a picture as PNG, which loses nothing, a clip as mp4."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.media import task as tasks
from rewardkit.media.batch import Clip, kind_of
from rewardkit.media.clips import write_clip
from rewardkit.media.images import write_image

if TYPE_CHECKING:
    from rewardkit.media.batch import Kind, Medium
    from rewardkit.media.task import Task

#: The extension of the files that are written of each kind of medium.
SUFFIXES: dict[Kind, str] = {"image": ".png", "video": ".mp4"}


def suffix_of(task: Task) -> str:
    """The extension of the files that hold what a task asks for."""
    return SUFFIXES[tasks.kind_of(task)]


def write_medium(medium: Medium, path_without_suffix: str | Path) -> Path:
    """Writes a medium, and returns the path of its file.

    Args:
        medium: a uint8 tensor `[3, H, W]`, or a clip.
        path_without_suffix: the path of the file but for its extension.
    """
    path = Path(f"{path_without_suffix}{SUFFIXES[kind_of(medium)]}")
    if isinstance(medium, Clip):
        write_clip(medium, path)
    else:
        write_image(medium, path)
    return path
