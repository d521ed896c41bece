"""How rewards are computed. Loads no torch."""

from __future__ import annotations

from typing import Literal, Self, final

from pydantic import Field, model_validator

from grpo.config.section import Section
from rewardkit.service import Endpoint


@final
class ScoringConfig(Section):
    """How rewards are computed, in training and in evaluation."""

    device: str | None = Field(default=None, min_length=1)
    """Device of the rewards' networks: cpu, cuda, cuda:1, mps; none uses the model's."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Dtype of the rewards' networks."""
    batch_size: int = Field(default=32, ge=1, le=10_000)
    """Samples per call of a reward's network; halved when out of memory."""
    offload: bool = False
    """Keep the rewards' networks on the CPU while they are not in use."""
    weights: dict[str, str] = Field(default={})
    """Local files of rewards' weights, NAME = PATH, by the names that `rewardkit show` prints."""
    endpoint: str | None = Field(default=None, min_length=1)
    """Base address of the service that rewards such as judge call; none: no reward calls one."""
    judge_model: str | None = Field(default=None, min_length=1)
    """Model at scoring.endpoint that judges; none: the only one it serves."""
    concurrency: int = Field(default=16, ge=1, le=10_000)
    """Maximum number of calls to scoring.endpoint at the same time, of each process."""
    timeout: float = Field(default=120.0, gt=0, le=86_400)
    """Seconds to wait for an answer of scoring.endpoint."""

    @property
    def service(self) -> Endpoint | None:
        """The endpoint; None where there is none.

        Raises:
            UsageError: the address is not a valid URL.
        """
        if self.endpoint is None:
            return None
        return Endpoint(self.endpoint, self.judge_model, self.concurrency, self.timeout)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.judge_model is not None and self.endpoint is None:
            raise ValueError(
                f"scoring.judge_model is {self.judge_model}, a model at an endpoint, and "
                "scoring.endpoint is none. Set scoring.endpoint (--endpoint URL)"
            )
        if self.offload and self.device == "cpu":
            raise ValueError(
                "scoring.offload moves the rewards' networks to the CPU while they are not in use, "
                "but scoring.device is cpu, so they are there already. Set scoring.offload to false"
            )
        return self
