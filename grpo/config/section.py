"""The base of every table of the configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the configuration; the text under a field is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True,
        strict=True,  # TOML has types: "3" for a number, or true for 1, is a mistake
    )  # fmt: skip
