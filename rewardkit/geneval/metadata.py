"""Parser of `evaluation_metadata.jsonl`, whose lines state what a GenEval prompt asks for.

    {"tag": "position", "prompt": "a photo of a dog right of a red cup",
     "include": [{"class": "cup", "count": 1, "color": "red"},
                 {"class": "dog", "count": 1, "position": ["right of", 0]}]}

A wrong line would silently change the verdict on an image, so lines are checked before anything is
generated.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rewardkit.errors import InputError, unknown
from rewardkit.geneval.names import CLASSES, COLOURS, Relation, Tag

# Maximum number of objects per class; those with the highest scores count.
MAX_OBJECTS = 16

_Count = Annotated[int, Field(strict=True, ge=1, le=MAX_OBJECTS)]


class Clause(BaseModel):
    """A class and a count; a clause of `exclude` requires fewer objects than its count."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(alias="class")
    count: _Count


class Included(Clause):
    """A clause of `include`: at least `count` objects; those with the highest scores are judged.

    Attributes:
        color: required colour of each object; None accepts any.
        position: required relation of each object to those of an earlier clause, and the index of
            that clause.
    """

    color: str | None = None
    position: tuple[Relation, Annotated[int, Field(strict=True, ge=0)]] | None = None


class Metadata(BaseModel):
    """What a prompt asks for. The text of the prompt is not read."""

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
    """Parse one line of metadata. Other keys (`prompt`, `id`, ...) are ignored.

    Args:
        line: `tag`, `include` and, optionally, `exclude`.
        classes: the classes of the detector; None accepts any.
        colours: the colours of the classifier; None accepts any.
        where: location of the line, with which errors begin.

    Raises:
        InputError: the line is invalid.
    """
    for key in set(line) - set(Metadata.model_fields):
        near = difflib.get_close_matches(str(key), Metadata.model_fields, n=1, cutoff=0.8)
        if near and near[0] not in line:
            raise InputError(f"{where}: unknown key {key!r}. Did you mean {near[0]!r}?")
    try:
        metadata = Metadata.model_validate(line)
    except ValidationError as error:
        raise InputError(f"{where}: {_problems(error)}") from error
    see = "rewardkit.geneval.names"
    for clause in (*metadata.include, *metadata.exclude):
        if classes is not None and clause.name not in classes:
            raise InputError(f"{where}: {unknown('class', clause.name, classes, see)}")
    for index, clause in enumerate(metadata.include):
        if colours is not None and clause.color is not None and clause.color not in colours:
            raise InputError(f"{where}: {unknown('color', clause.color, colours, see)}")
        if clause.position is not None and clause.position[1] >= index:
            raise InputError(
                f"{where}: include.{index}.position names clause {clause.position[1]}; a position "
                f"refers to an earlier clause, and this is clause {index}, counted from 0"
            )
    return metadata


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']} ({problem['input']!r} given)"
        if problem["type"] != "missing"
        else f"{'.'.join(map(str, problem['loc']))} is missing"
        for problem in error.errors()
    )
