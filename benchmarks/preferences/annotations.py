"""Preference sets whose annotations are a JSON list, beside a folder of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.preferences.manifest import reason
from benchmarks.preferences.question import PreferenceSet, Question
from rewardkit.errors import InputError
from rewardkit.media.files import quoted, read_text
from rewardkit.records.documents import parse_json
from rewardkit.weights.hub import locate
from rewardkit.weights.pins import PinnedFile


@final
@dataclass(frozen=True)
class Local:
    """Where the files of a published set are on this machine.

    Attributes:
        media: the folder of its publisher's pictures or clips.
        unpacked: the folder for pictures that have to be unpacked.
        annotations: a local file, instead of the one that would be downloaded.
    """

    media: Path
    unpacked: Path
    annotations: Path | None


class _Entry(BaseModel):
    """An entry of a list of annotations; each publisher has other names for its fields."""

    model_config = ConfigDict(allow_inf_nan=False)

    prompt: str
    images: tuple[str, ...] = Field(min_length=2)
    ranking: tuple[float, ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.images) != len(self.ranking):
            raise ValueError(f"{len(self.images)} images and {len(self.ranking)} ranks")
        return self


@final
class HpdEntry(_Entry):
    """An entry of HPD v2.

    Source: https://github.com/tgxs002/HPSv2, README.md, and hpsv2/src/training/data.py:
    RankingDataset.
    """

    images: tuple[str, ...] = Field(alias="image_path", min_length=2)
    ranking: tuple[float, ...] = Field(alias="rank")


@final
class ImageRewardEntry(_Entry):
    """An entry of ImageReward.

    Source: https://github.com/THUDM/ImageReward, test.py.
    """

    images: tuple[str, ...] = Field(alias="generations", min_length=2)


def read_list(
    name: str, local: Local, *, annotations: PinnedFile, entry: type[_Entry], number: int | None
) -> PreferenceSet:
    """Reads a set that is a JSON list of entries, which name the paths of their pictures.

    Args:
        name: the name of the set.
        local: where its files are on this machine.
        annotations: the list.
        entry: the form of an entry.
        number: how many entries the published list has, where that is known.

    Raises:
        WeightsError: the list is not on this machine and cannot be downloaded.
        InputError: it is not the published list.
    """
    own = local.annotations
    located = locate(annotations, {} if own is None else {annotations.name: own})
    where = quoted(located.path)
    listed = parse_json(read_text(located.path), where)
    if not isinstance(listed, list) or not 0 < len(listed) <= (number or len(listed)):
        entries = f"{number} entries" if number else "entries"
        raise InputError(f"{where} is not the list of {entries} that {name} is")
    questions = []
    for place, item in enumerate(listed, start=1):
        try:
            found = entry.model_validate(item)
        except ValidationError as error:
            raise InputError(f"{where}, entry {place}: {reason(error)}") from error
        questions.append(Question(found.prompt, found.images, found.ranking))
    return PreferenceSet(
        name=name,
        source=f"{located.source} at {located.revision or located.sha256}",
        folder=local.media,
        questions=questions,
        missing=0 if number is None else number - len(listed),
    )
