"""Advantage-weighted matching: the clipped surrogate over a likelihood of the forward process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, final

from pydantic import Field

from grpo.config.fields import Config
from grpo.objectives.following import Following
from grpo.objectives.noising import NoisingConfig, ramp
from grpo.objectives.objective import Samples, Term


@final
class WeightedMatchingConfig(NoisingConfig):
    """Advantage-weighted matching: samples are as likely as the network matches their velocity."""

    decays = ("decay",)

    weighting: Literal["uniform", "t", "t2", "huber", "ghuber"] = "ghuber"
    """Log-likelihood of error e: -e, -t e, -t^2 e, -t sqrt(e), -t e^p / p (last two 0 at e = 0)."""
    ghuber_power: float = Field(default=0.25, gt=0, le=1)
    """Power p of the weighting ghuber."""
    clip_range: float = Field(default=1.0, gt=0, le=1)
    """Clip range of the ratio around 1, where a rollout is used for several updates."""
    kl_slow: float = Field(default=1.0, ge=0, le=1000)
    """Weight of the KL penalty to a slower copy of the policy."""
    decay_slope: float = Field(default=0.001, ge=0, le=1)
    """Increase of the slower copy's decay with each update."""
    decay_cap: float = Field(default=0.3, ge=0, lt=1)
    """Largest decay of the slower copy."""

    def unread(self, config: Config) -> dict[str, str]:
        """What a ratio, a penalty or a power would read, where there is none."""
        found = super().unread(config)
        if not self.reuses:
            found["objective.clip_range"] = (
                "a rollout is used for a single update, so every ratio is 1"
            )
        if self.weighting != "ghuber":
            found["objective.ghuber_power"] = f"objective.weighting is {self.weighting}"
        if self.kl_slow == 0:
            reason = "objective.kl_slow is 0, so there is no slower copy"
            found |= dict.fromkeys(("objective.decay_slope", "objective.decay_cap"), reason)
        return found

    @property
    def reuses(self) -> bool:
        """Whether a rollout is used for several updates, so that ratios may differ from 1."""
        return self.updates * self.epochs > 1

    def followers(self, updates: int) -> dict[str, float]:
        """The policy that drew the rollout, where it is not the trained one, and the slower one."""
        slow = {"slow": ramp(updates, slope=self.decay_slope, cap=self.decay_cap)}
        return ({"old": 0.0} if self.reuses else {}) | (slow if self.kl_slow > 0 else {})


@final
class WeightedMatching(Following[WeightedMatchingConfig]):
    """The clipped surrogate over a likelihood of the forward process, so that any sampler fits."""

    config_class = WeightedMatchingConfig

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per timestep; both likelihoods of a ratio are at the same noise."""
        from grpo.loss import kl_v
        from grpo.matching import log_likelihood, matching_error
        from grpo.surrogates import clipped_surrogate

        settings = self.settings
        penalties = {"start": ("kl", settings.kl), "slow": ("kl_slow", settings.kl_slow)}
        penalties = {name: pair for name, pair in penalties.items() if pair[1] > 0}
        needed = [*penalties, *(["old"] if settings.reuses else [])]
        for noised in self.noised(samples, keys):
            outputs = {name: self.output_of(name, samples, noised) for name in needed}
            new = self.output(samples, noised)
            _, level = self.sampler.as_flow(noised.index)
            now, before = (
                log_likelihood(
                    matching_error(output, noised.target),
                    level,
                    settings.weighting,
                    ghuber_power=settings.ghuber_power,
                )
                for output in (new, outputs.get("old", new.detach()))
            )
            loss = clipped_surrogate(
                now,
                before,
                samples.advantage,
                clip_range=settings.clip_range,
                advantage_clip=self.config.advantage.clamp,
            )
            term = Term.of(loss, 1 / settings.timesteps)
            for name, (figure, weight) in penalties.items():
                term = term.penalised(figure, kl_v(new, outputs[name]), weight)
            yield term
