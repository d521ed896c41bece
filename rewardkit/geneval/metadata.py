"""What a GenEval prompt asks for: a line of `evaluation_metadata.jsonl`, checked.

    {"tag": "position", "prompt": "a photo of a dog right of a red cup",
     "include": [{"class": "cup", "count": 1, "color": "red"},
                 {"class": "dog", "count": 1, "position": ["right of", 0]}]}

A line that is wrong makes a picture wrong, or right, for no reason that anyone sees: it is found
here, before anything is generated.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rewardkit.errors import InputError, unknown
from rewardkit.geneval.names import CLASSES, COLOURS, Relation, Tag

# Objects of a class that count, the best scored ones; a clause can ask for no more.
MAX_OBJECTS = 16

_Count = Annotated[int, Field(strict=True, ge=1, le=MAX_OBJECTS)]


class Clause(BaseModel):
    """A number of objects of a class; one of `exclude` wants fewer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(alias="class")
    count: _Count


class Included(Clause):
    """A clause of `include`: at least so many, of which the best scored `count` are looked at.

    Attributes:
        color: of each of them; None is any.
        position: how each of them lies to those of an earlier clause, and the index of that clause.
    """

    color: str | None = None
    position: tuple[Relation, Annotated[int, Field(strict=True, ge=0)]] | None = None


class Metadata(BaseModel):
    """What a prompt asks for. The prompt itself stands beside it and is not read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tag: Tag
    include: tuple[Included, ...] = Field(min_length=1)
    exclude: tuple[Clause, ...] = ()


def parse_metadata(
    line: Mapping[str, Any],
    classes: Collection[str] | None = CLASSES,
    colours: Collection[str] | None = COLOURS,
    where: str = "GenEval metadata",
) -> Metadata:
    """What a line of metadata asks for. Keys of other things (`prompt`, `id`, ...) are left alone.

    Args:
        line: tag, include, and exclude where there is one.
        classes: what the detector can find; None is anything.
        colours: what the colours of things are told as; None is anything.
        where: the line's place, as errors begin.

    Raises:
        InputError: saying what is wrong with the line.
    """
    for key in set(line) - set(Metadata.model_fields):
        near = difflib.get_close_matches(str(key), Metadata.model_fields, n=1, cutoff=0.8)
        if near and near[0] not in line:
            raise InputError(f"{where}: {key!r} given; {near[0]!r} is meant, it seems")
    try:
        metadata = Metadata.model_validate(line)
    except ValidationError as error:
        raise InputError(f"{where}: {_told(error)}") from error
    see = "rewardkit.geneval.names"
    for clause in (*metadata.include, *metadata.exclude):
        if classes is not None and clause.name not in classes:
            raise InputError(f"{where}: {unknown('class', clause.name, classes, see)}")
    for index, clause in enumerate(metadata.include):
        if colours is not None and clause.color is not None and clause.color not in colours:
            raise InputError(f"{where}: {unknown('color', clause.color, colours, see)}")
        if clause.position is not None and clause.position[1] >= index:
            raise InputError(
                f"{where}: include.{index}.position: clause {clause.position[1]} given; a thing "
                f"lies to one of an earlier clause, and this is clause {index}, the first being 0"
            )
    return metadata


def _told(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']} ({one['input']!r} given)"
        if one["type"] != "missing"
        else f"{'.'.join(map(str, one['loc']))} is missing"
        for one in error.errors()
    )
