"""A preference set of one's own: JSON lines, a question in each.

    {"prompt": "a cat", "images": ["a.png", "b.png"], "ranking": [1, 2]}

Rank 1 is preferred, equal ranks are a tie, paths are relative to the manifest, and a `tag` names
the part of the set that a question belongs to. Clips are listed under `videos` instead; a manifest
has pictures or clips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.preferences.question import UNTAGGED, PreferenceSet, Question
from rewardkit.errors import InputError
from rewardkit.media.batch import Kind
from rewardkit.media.files import quoted, read_text

# Ranks are compared as floats: larger whole numbers would become ties.
_LARGEST = 2**53

# Number of wrong lines that are shown.
_SHOWN = 10


@final
class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str = Field(pattern=r"\S")
    images: list[str] | None = Field(default=None, min_length=2)
    videos: list[str] | None = Field(default=None, min_length=2)
    ranking: list[int]
    tag: str = Field(default=UNTAGGED, pattern=r"^[\w.-]+$")

    @property
    def kind(self) -> Kind:
        """Of its files."""
        return "image" if self.videos is None else "video"

    @property
    def media(self) -> tuple[str, ...]:
        """Its files."""
        return tuple(self.images or self.videos or ())

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.images is None) == (self.videos is None):
            raise ValueError("name the files under images, or under videos")
        if len(self.media) != len(self.ranking):
            raise ValueError(f"{len(self.media)} {self.kind}s and {len(self.ranking)} ranks")
        if min(self.ranking) < 1:
            raise ValueError(f"ranks count from 1; given: {min(self.ranking)}")
        if max(self.ranking) > _LARGEST:
            raise ValueError(f"a rank is larger than {_LARGEST:,}")
        if len(set(self.media)) < len(self.media):
            raise ValueError(f"one {self.kind} is named twice")
        return self


def read_manifest(path: Path) -> PreferenceSet:
    """The set that a manifest lists.

    Raises:
        InputError: it cannot be read, is empty, or lines are wrong: each is named.
    """
    questions: list[Question] = []
    problems: list[str] = []
    kind: Kind | None = None
    for number, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            line = _Line.model_validate_json(text)
        except ValidationError as error:
            problems.append(f"  line {number}: {reason(error)}")
            continue
        if kind not in (None, line.kind):
            problems.append(f"  line {number}: it has {line.kind}s, and lines before have {kind}s")
            continue
        kind = line.kind
        questions.append(
            Question(line.prompt, line.media, tuple(map(float, line.ranking)), line.tag)
        )
    if problems:
        more = [f"  and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise InputError(
            "\n".join([f"{quoted(path)} is not a preference manifest:", *problems[:_SHOWN], *more])
            + '\nA line is {"prompt": "a cat", "images": ["a.png", "b.png"], "ranking": [1, 2]}'
        )
    if kind is None:
        raise InputError(f"{quoted(path)} has no questions")
    return PreferenceSet(path.stem, str(path), path.parent, questions, kind=kind)


def reason(error: ValidationError) -> str:
    """The first thing that is wrong, and where, on one line."""
    wrong = error.errors()[0]
    message = wrong["msg"].removeprefix("Value error, ")
    place = ".".join(map(str, wrong["loc"]))
    return f"{place}: {message}" if place else message
