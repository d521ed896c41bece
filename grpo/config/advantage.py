"""How rewards become advantages. Loads no torch."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field

from grpo.config.section import Section


@final
class AdvantageConfig(Section):
    """How rewards become advantages; `grpo.advantage` lists the variants of each method."""

    baseline: Literal["group", "batch"] = "group"
    """Mean reward to subtract: that of the group or of the batch."""
    scale: Literal["group", "batch", "max", "none"] = "group"
    """Divisor: std of the group, of the batch, of the group with the widest spread, or 1."""
    unbiased: bool = True
    """Divide std by n - 1, not by n."""
    eps: float = Field(default=1e-8, gt=0, le=1)
    """Number added to std."""
    combine: Literal["advantages", "raw"] = "advantages"
    """What the weights of several rewards multiply: their advantages, or their raw scores."""
    clamp: float = Field(default=5.0, gt=0, le=1000)
    """Largest advantage: advantages are cut to plus or minus this."""
    best: int | None = Field(default=None, ge=2, le=10_000)
    """Samples of each group to train on, half best, half worst; none trains on all."""
    count_flat: bool = False
    """Count groups with equal rewards, which have no gradient, in the mean."""
