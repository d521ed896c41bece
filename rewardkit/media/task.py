"""What a generator is asked to make, and the kind of medium that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from rewardkit.media.batch import Kind

Task = Literal["text-to-image", "text-to-video", "image-to-video", "image-edit"]
TASKS: tuple[Task, ...] = get_args(Task)


def kind_of(task: Task) -> Kind:
    """The kind of medium that a task asks for."""
    return "video" if task.endswith("video") else "image"


#: The name of the picture that a task starts from, beside its prompt.
REFERENCES: Mapping[Task, str] = {"image-to-video": "first_frame", "image-edit": "source"}


def starts_from_picture(task: Task) -> bool:
    """Whether a task is given a picture beside its prompt."""
    return task in REFERENCES


def noun_of(task: Task) -> str:
    """What one medium of a task is called in messages; its plural adds an "s"."""
    return "clip" if kind_of(task) == "video" else "picture"
