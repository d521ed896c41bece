"""The protocol a generator is sampled with, and the file in which a folder carries its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rewardkit.errors import InputError, UsageError
from rewardkit.records.documents import DamagedDocument, read_json

# What a folder says of itself; diffusers leaves the file alone.
CARD = "rewardkit.json"


class Protocol(BaseModel):
    """How a pipeline is sampled: with a prompt and a seed, it determines the picture.

    Attributes:
        steps: of the pipeline's scheduler.
        guidance: the pipeline's `guidance_scale`: of classifier-free guidance, which is off at 1
            and below, or the embedded input of a guidance-distilled model such as FLUX.1-dev.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        max_sequence_length: tokens to which the text is padded or cut; None where the pipeline has
            no such option. Padding is attended to, so its length changes the picture: SD3 without
            T5 is given this many zero vectors, and FLUX this many T5 tokens.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1, le=1000)
    guidance: float = Field(ge=0, le=100)
    height: int = Field(ge=8, le=8192)
    width: int = Field(ge=8, le=8192)
    # SD3 and FLUX refuse more than 512.
    max_sequence_length: int | None = Field(default=None, ge=0, le=512)

    def changed(self, values: Mapping[str, float | None]) -> Self:
        """This protocol with some values in place of its own.

        Raises:
            UsageError: one is out of bounds.
        """
        try:
            return self.model_validate({**self.model_dump(), **values})
        except ValidationError as error:
            raise UsageError(f"this cannot be sampled with: {_told(error)}") from error


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
            f"{path} does not say how to sample: {_told(error)}. A protocol has the keys "
            f"{', '.join(Protocol.model_fields)}"
        ) from error


def _told(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(['protocol', *map(str, one['loc'])])}: {one['msg']}" for one in error.errors()
    )
