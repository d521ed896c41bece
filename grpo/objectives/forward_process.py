"""DiffusionNFT: clean samples are noised again, and a slower copy of the policy draws them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, final

from pydantic import Field

from grpo.objectives.following import Following
from grpo.objectives.noising import NoisingConfig, ramp
from grpo.objectives.objective import Samples, Term


@final
class ForwardProcessConfig(NoisingConfig):
    """DiffusionNFT: clean samples are noised again, and no step needs a probability."""

    decays = ("decay",)

    beta: float = Field(default=1.0, gt=0, le=100)
    """Distance of the implicit policies from the old one."""
    decay_start: int = Field(default=0, ge=0, le=1_000_000)
    """Number of first updates during which the old policy equals the new one."""
    decay_slope: float = Field(default=0.001, ge=0, le=1)
    """Increase of the old policy's decay with each later update."""
    decay_cap: float = Field(default=0.5, ge=0, lt=1)
    """Largest decay of the old policy."""

    def followers(self, updates: int) -> dict[str, float]:
        """The old policy."""
        decay = ramp(updates, slope=self.decay_slope, cap=self.decay_cap, start=self.decay_start)
        return {"old": decay}


@final
class ForwardProcess(Following[ForwardProcessConfig]):
    """DiffusionNFT: clean samples are noised again; a slower copy of the policy draws them."""

    config_class = ForwardProcessConfig

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per timestep."""
        from grpo.loss import kl_v
        from grpo.matching import nft
        from grpo.sde import column

        settings = self.settings
        for noised in self.noised(samples, keys):
            old = self.output_of("old", samples, noised)
            if settings.kl > 0:
                start = self.output_of("start", samples, noised)
            new = self.output(samples, noised)
            scale, level = self.sampler.as_flow(noised.index)
            loss = nft(
                new,
                old,
                noised.x * column(scale, noised.x),
                noised.x0,
                level,
                samples.advantage,
                beta=settings.beta,
                advantage_clip=self.config.advantage.clamp,
            )
            term = Term.of(loss, 1 / settings.timesteps)
            yield term.penalised("kl", kl_v(new, start), settings.kl) if settings.kl > 0 else term

    def behaviour(self) -> AbstractContextManager[Any]:
        """The weights of the old policy."""
        return self.policy.using("old")
