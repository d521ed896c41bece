"""How rewards become advantages. Loads no torch."""

from __future__ import annotations

from typing import Literal, Self, final

from pydantic import Field, model_validator

from grpo.config.section import Section


@final
class AdvantageConfig(Section):
    """How rewards become advantages; `grpo.advantage` lists the variants of each method."""

    baseline: Literal["group", "batch", "history"] = "group"
    """Mean reward to subtract: of the group, of the batch, or of the prompt's newest rewards."""
    history: int = Field(default=16, ge=2, le=100_000)
    """Number of a prompt's newest rewards to keep over training steps."""
    history_min: int = Field(default=16, ge=2, le=100_000)
    """Number of rewards that a prompt needs; with fewer it is compared with the batch."""
    scale: Literal["group", "batch", "max", "none"] = "group"
    """Divisor: std of the group, of the batch, of the group with the widest spread, or 1."""
    unbiased: bool = True
    """Divide std by n - 1, not by n."""
    eps: float = Field(default=1e-8, gt=0, le=1)
    """Number added to std."""
    combine: Literal["advantages", "raw", "gdpo"] = "advantages"
    """What weights multiply: advantages, raw scores, or advantages standardised again as a sum."""
    clamp: float = Field(default=5.0, gt=0, le=1000)
    """Largest advantage: advantages are cut to plus or minus this."""
    best: int | None = Field(default=None, ge=2, le=10_000)
    """Samples of each group to train on, half best, half worst; none trains on all."""
    count_flat: bool = False
    """Count groups with equal rewards, which have no gradient, in the mean."""

    @model_validator(mode="after")
    def _history_fits(self) -> Self:
        if self.history_min > self.history:
            raise ValueError(
                f"advantage.history_min is {self.history_min}; it is at most advantage.history, "
                f"{self.history}, the number of rewards that are kept"
            )
        return self
