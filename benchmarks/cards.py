"""The card in a folder of pictures or clips: what made them, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

from pydantic import BaseModel, ConfigDict, ValidationError

from rewardkit.errors import InputError
from rewardkit.generators.gallery import made_by
from rewardkit.generators.protocol import CARD


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@final
class Source(_Part):
    """Where a model is from."""

    source: str
    alias: str | None
    revision: str | None


@final
class Making(_Part):
    """How `rewardkit` made the pictures or clips of a folder, as its card says."""

    model: Source
    lora: str | None
    trained_on: dict[str, Any] | None
    scheduler: dict[str, Any]
    dtype: str
    decoded: str | None = None
    protocol: dict[str, Any]
    prompts: str
    samples: int
    seed: int
    pictures: str | None = None
    """The name of the set of files; the key is older than clips."""
    batch: int | None = None


def making(folder: Path) -> Making | None:
    """How the pictures or clips of a folder were made; None where `rewardkit` did not make them.

    Raises:
        InputError: the card is damaged.
    """
    card = made_by(folder)
    if card is None:
        return None
    try:
        return Making.model_validate(card)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise InputError(
            f"{folder / CARD} does not say what made its files: {place}: {wrong['msg']}"
        ) from error
