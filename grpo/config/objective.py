"""The settings that the table [objective] has for every kind. Loads no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import Field

from grpo.config.sampler import SamplerConfig
from grpo.config.section import Section


class ObjectiveConfig(Section, ABC):
    """The settings of an objective, their requirements on the sampler, and their cost.

    A subclass adds its own settings and is defined in the file of its objective, see
    `grpo.objectives`.
    """

    kind: str = Field(min_length=1)
    """Objective to minimise."""
    updates: int = Field(default=1, ge=1, le=10_000)
    """Optimizer updates per pass over a rollout."""
    epochs: int = Field(default=1, ge=1, le=1000)
    """Passes over a rollout."""

    def check(self, sampler: SamplerConfig) -> None:
        """Refuse a sampler that these settings cannot train with; here, groups of one sample.

        A subclass whose credit compares no samples of a group does not call this.

        Raises:
            ValueError: these settings cannot train with the sampler.
        """
        if sampler.group_size < 2:
            raise ValueError(
                "sampler.group_size is 1; it is at least 2, because a sample is compared with "
                "others of its prompt"
            )

    @abstractmethod
    def steps_trained(self, sampler: SamplerConfig) -> int:
        """Number of denoising steps of each sample that one pass trains."""

    def steps_stored(self, sampler: SamplerConfig) -> int:
        """Number of denoising steps of each sample that a rollout stores."""
        return 0

    def copies(self, adapted: bool) -> int:
        """Number of copies of the trained parameters that are kept; `adapted`: these are a LoRA."""
        return 0
