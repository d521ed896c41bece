"""What a judge is asked, and how its answer is read: the base of the forms of answers."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from rewardkit.errors import InputError
from rewardkit.judging.completion import Completion
from rewardkit.media.batch import Kind, Sample, kind_of

# One whole answer of one model to one question.
_FIXED = {"messages", "model", "n", "stream"}
_PLACE = re.compile(r"\{([a-z_]+)\}")


class JudgeTemplate(BaseModel, ABC):
    """A template: the fields of its .toml file.

    Attributes:
        form: how the answer is read; the class of that form has more fields.
        summary: one sentence saying what a higher score means.
        text: what is asked. {prompt} is the prompt, {medium} "image" or "video", and {points} the
            numbered points of the form "list".
        of_frames: what is said before the frames of a clip; {frames} is their number.
        frames: the largest number of frames of a clip that are sent.
        max_tokens: the largest number of tokens of an answer.
        request: fields of the request in place of, or beside, those that are sent; False removes
            a field.
        notes: for the card.
        sha256: of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    PLACES: ClassVar[frozenset[str]] = frozenset({"prompt", "medium"})

    form: str
    summary: str
    text: str = Field(min_length=1)
    of_frames: str = "These {frames} images are frames of one video, in order of time."
    frames: int = Field(default=8, ge=1, le=256)
    max_tokens: int = Field(ge=1)
    request: Mapping[str, JsonValue] = {}
    notes: tuple[str, ...] = ()
    sha256: str

    @field_validator("text")
    @classmethod
    def _places(cls, text: str) -> str:
        unknown = sorted(set(_PLACE.findall(text)) - cls.PLACES)
        if unknown:
            accepted = ", ".join(f"{{{place}}}" for place in sorted(cls.PLACES))
            raise ValueError(f"{{{unknown[0]}}} stands for nothing; accepted: {accepted}")
        return text

    @field_validator("request")
    @classmethod
    def _fields(cls, request: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        if fixed := sorted(_FIXED & request.keys()):
            raise ValueError(f"the field {fixed[0]} of the request cannot be changed")
        json.dumps(request, allow_nan=False)
        return request

    @property
    @abstractmethod
    def range(self) -> tuple[float, float]:
        """The lowest and the highest score."""

    @property
    @abstractmethod
    def unit(self) -> str:
        """The unit of the score."""

    @property
    def needs_prompt(self) -> bool:
        """Whether the prompt is part of the question."""
        return "{prompt}" in self.text

    @property
    def needs_meta(self) -> tuple[str, ...]:
        """Keys of the prompt's line that are part of the question."""
        return ()

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the request of this form asks of the answer."""
        return {}

    @abstractmethod
    def parse(self, completion: Completion, sample: Sample) -> float:
        """The score that the answer about a sample states.

        Raises:
            JudgeError: it states none, or one out of range.
        """

    @abstractmethod
    def example(self, share: float, question: str) -> Mapping[str, Any]:
        """An answer to a question, a choice of a completion, of a made-up judge for tests.

        Args:
            share: 0 is the worst and 1 the best answer.
            question: the text that was sent.
        """

    def places(self, sample: Sample) -> dict[str, str]:
        """What stands in the places of the text.

        Raises:
            InputError: the line of the sample lacks it.
        """
        assert sample.medium is not None
        kind: Kind = kind_of(sample.medium)
        return {"prompt": sample.prompt or "", "medium": kind}

    def question(self, sample: Sample) -> str:
        """The text that is sent; what stands in its places is not searched for places."""
        places = self.places(sample)
        return _PLACE.sub(lambda place: places[place[1]], self.text)


def texts_of(meta: Mapping[str, Any], key: str) -> list[str]:
    """The list of texts under a key of a prompt's line.

    Raises:
        InputError: something else is there.
    """
    value = meta.get(key)
    texts = value if isinstance(value, list | tuple) else ()
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise InputError(
            f"the key {key!r} of the prompt's line is a list of texts, such as "
            f'["the cat is black", "it sits"]; given: {value!r}'
        )
    return list(texts)
