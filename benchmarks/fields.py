"""What the fields of result files are made of: checked types, and the base of their parts."""

from __future__ import annotations

from pathlib import PureWindowsPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from benchmarks.shard import Shard
from rewardkit.errors import UsageError

#: Number of characters that errors show of a refused value.
LONGEST = 80


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"its ends {ends[0]:.4g} and {ends[1]:.4g} are not in order")
    return ends


def _bare(name: str) -> str:
    # By the rules of Windows, which has more separators and drives.
    if PureWindowsPath(name).name != name or name in ("", ".", "..") or len(name) > 255:
        raise ValueError(f"{name[:LONGEST]!r} is not the bare name of a file beside it")
    return name


def _shard(text: str) -> str:
    try:
        return str(Shard.parse(text))
    except UsageError:
        raise ValueError(f"a shard is written 3/8; this is {text[:LONGEST]!r}") from None


Interval = Annotated[tuple[float, float], AfterValidator(_ordered)]
FileName = Annotated[str, AfterValidator(_bare)]
ShardName = Annotated[str, AfterValidator(_shard)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class ResultPart(BaseModel):
    """A part of a result; the text under a field is its description."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
