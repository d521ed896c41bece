"""DiffusionNFT: clean samples are noised again, and a slower copy of the policy draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, final

from pydantic import Field

from grpo.config.fields import Config, ObjectiveConfig
from grpo.config.sampler import SamplerConfig
from grpo.objectives.noising import noised_steps
from grpo.objectives.objective import Objective, Samples, Term

if TYPE_CHECKING:
    import numpy as np

    from grpo.policies.policy import Policy
    from grpo.rewards import Rewards
    from grpo.rollout import Plan
    from grpo.sampler import Sampler


@final
class ForwardProcessConfig(ObjectiveConfig):
    """DiffusionNFT: clean samples are noised again, and no step needs a probability."""

    beta: float = Field(default=1.0, gt=0, le=100)
    """Distance of the implicit policies from the old one."""
    timesteps: int = Field(ge=1, le=1000)
    """Number of timesteps per sample and pass, from those of the sampler."""
    kl: float = Field(default=0.0, ge=0, le=1000)
    """Weight of the KL penalty to the initial model."""
    decay_start: int = Field(default=0, ge=0, le=1_000_000)
    """Number of first updates during which the old policy equals the new one."""
    decay_slope: float = Field(default=0.001, ge=0, le=1)
    """Increase of the old policy's decay with each later update."""
    decay_cap: float = Field(default=0.5, ge=0, lt=1)
    """Largest decay of the old policy."""

    def check(self, config: Config) -> None:
        """Refuse a sampler with fewer steps than are trained, or with a window."""
        super().check(config)
        sampler = config.sampler
        if self.timesteps > sampler.steps:
            raise ValueError(
                f"objective.timesteps is {self.timesteps}; it is at most sampler.steps, "
                f"{sampler.steps}"
            )
        if sampler.stochastic == "window":
            raise ValueError(
                "sampler.stochastic=window is for policy gradients; the forward process takes all "
                "steps. Set it to all"
            )

    def unread(self, config: Config) -> dict[str, str]:
        """What the decay of the old policy would read, where it is always 0."""
        found, decay = super().unread(config), ("decay_start", "decay_slope", "decay_cap")
        for zero in ("decay_slope", "decay_cap"):
            if getattr(self, zero) == 0:
                reason = f"objective.{zero} is 0, so the old policy always equals the new one"
                return found | {f"objective.{name}": reason for name in decay if name != zero}
        return found

    def steps_trained(self, sampler: SamplerConfig) -> int:
        """The number of timesteps that is set."""
        return self.timesteps

    def copies(self, adapted: bool) -> int:
        """The old policy, and the initial model unless a LoRA is trained on top of it."""
        return 1 + (self.kl > 0 and not adapted)

    def decay(self, updates: int) -> float:
        """The decay of the old policy after a number of updates, in [0, 1).

        Source: NVlabs/DiffusionNFT scripts/train_nft_sd3.py: return_decay.
        """
        return min(self.decay_slope * max(updates - self.decay_start, 0), self.decay_cap)


@final
class ForwardProcess(Objective[ForwardProcessConfig]):
    """DiffusionNFT: clean samples are noised again; a slower copy of the policy draws them."""

    config_class = ForwardProcessConfig

    def __init__(self, policy: Policy, sampler: Sampler, config: Config, rewards: Rewards) -> None:
        super().__init__(policy, sampler, config, rewards)
        policy.keep("old")
        if self.settings.kl > 0:
            policy.keep("start")

    def plan(self, groups: int, rng: np.random.Generator) -> Plan:
        """The sampler's own steps, none of them stored."""
        from grpo.rollout import Plan

        return Plan.of_clean(self.sampler, groups)

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per timestep."""
        from grpo.loss import kl_v
        from grpo.matching import nft
        from grpo.sde import column

        policy, settings = self.policy, self.settings
        for noised in noised_steps(samples, self.sampler, settings.timesteps, keys):
            predict = partial(policy.predict, noised.x, noised.timesteps, samples.condition)
            with policy.using("old"):
                old = predict()
            if settings.kl > 0:
                with policy.using("start"):
                    start = predict()
            new = predict()
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

    def after_updates(self, updates: int) -> None:
        """`old <- d old + (1 - d) new`; d grows with the updates, as the policy settles."""
        super().after_updates(updates)
        self.policy.banks["old"].follow(self.settings.decay(self.updates))

    def state(self) -> dict[str, Any]:
        """The state, with the weights of the old policy."""
        return {**super().state(), "old": self.policy.banks["old"].values}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The state, with the weights of the old policy."""
        super().restore(state)
        self.policy.banks["old"].restore(state["old"])
