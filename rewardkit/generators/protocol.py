"""The protocol a generator is sampled with, and the file in which a folder carries its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from rewardkit.errors import InputError, UsageError
from rewardkit.records.documents import DamagedDocument, read_json

# What a folder says of itself; diffusers leaves the file alone.
CARD = "rewardkit.json"

# Left out of documents where they are None: documents written before they existed stay the same.
_LATER = ("true_guidance", "negative_prompt", "frames", "fps")


class Protocol(BaseModel):
    """How a pipeline is sampled: with a request, it determines the medium.

    Values that are None are left to the pipeline, which has no such argument or does not use it.

    Attributes:
        steps: number of inference steps.
        guidance: the pipeline's `guidance_scale`: the scale of classifier-free guidance, which is
            off at 1 and below, or the embedded input of a guidance-distilled model such as
            FLUX.1-dev.
        true_guidance: the pipeline's `true_cfg_scale`: the scale of classifier-free guidance in
            pipelines whose `guidance_scale` is something else. None and 1 are off.
        negative_prompt: what guidance leads away from.
        height: in pixels.
        width: in pixels.
        frames: number of frames of a clip.
        fps: frames per second of a clip.
        max_sequence_length: tokens to which the text is padded or cut. Padding is attended to, so
            its length changes what is made: SD3 without T5 is given this many zero vectors, and
            FLUX this many T5 tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1, le=1000)
    guidance: float | None = Field(ge=0, le=100)
    true_guidance: float | None = Field(default=None, ge=0, le=100)
    negative_prompt: str | None = None
    height: int = Field(ge=8, le=8192)
    width: int = Field(ge=8, le=8192)
    frames: int | None = Field(default=None, ge=1, le=10_000)
    fps: float | None = Field(default=None, gt=0, le=1000)
    max_sequence_length: int | None = Field(default=None, ge=0, le=1024)

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As documents have always been: a value that came later is written where it is set."""
        absent = {name for name in _LATER if getattr(self, name) is None}
        return {name: value for name, value in serialize(self).items() if name not in absent}

    def changed(self, values: Mapping[str, float | str | None]) -> Self:
        """This protocol with some values in place of its own.

        Where true guidance is switched off, its negative prompt goes too, unless one is among them.

        Raises:
            UsageError: a value is out of bounds.
        """
        off = "true_guidance" in values and float(values["true_guidance"] or 0) <= 1
        unused = {"negative_prompt"} if off else set()
        try:
            return self.model_validate({**self.model_dump(exclude=unused), **values})
        except ValidationError as error:
            raise UsageError(f"this cannot be sampled with: {_problems(error)}") from error


def carried_card(folder: Path) -> dict[str, Any]:
    """What a folder's rewardkit.json says; nothing where there is none.

    Raises:
        InputError: the file is not JSON.
    """
    path = folder / CARD
    try:
        card = read_json(path)
    except FileNotFoundError:
        return {}
    except DamagedDocument as error:
        raise InputError(
            f"{path} cannot be read as JSON: it is {error.reason}. Repair or remove it"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read as JSON: {error}. Repair or remove it") from error
    return card if isinstance(card, dict) else {}


def carried_protocol(folder: Path) -> Protocol | None:
    """The `protocol` in a folder's rewardkit.json; None where the folder does not say one.

    Raises:
        InputError: the file is not JSON, or its protocol is not one.
    """
    path, card = folder / CARD, carried_card(folder)
    if "protocol" not in card:
        return None
    try:
        return Protocol.model_validate(card["protocol"])
    except ValidationError as error:
        raise InputError(
            f"{path} does not say how to sample: {_problems(error)}. A protocol has the keys "
            f"{', '.join(Protocol.model_fields)}"
        ) from error


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(['protocol', *map(str, problem['loc'])])}: {problem['msg']}"
        + ("" if problem["type"] == "missing" else f"; {problem['input']!r} was given")
        for problem in error.errors()
    )
