"""Direct group preference optimization: the groups of a rollout are weighted in the loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, final

from pydantic import Field

from grpo.config.fields import Config
from grpo.objectives.following import Following
from grpo.objectives.noising import Noised, NoisingConfig, ramp
from grpo.objectives.objective import Samples, Term

if TYPE_CHECKING:
    from torch import Tensor


@final
class GroupPreferenceConfig(NoisingConfig):
    """Direct group preference optimization: good samples of a group are matched, bad ones not."""

    decays = ("decay",)

    noise: Literal["group"] = "group"
    """Scope of the shared timesteps and noise: the group (of a prompt), which is compared."""
    beta: float = Field(gt=0, le=1_000_000)
    """Rate at which a group loses weight as its samples are ranked better than by the reference."""
    reference: Literal["start", "old"] = "start"
    """Reference of the comparison: the initial model, or the old policy, which follows the new."""
    clip_range: float | None = Field(default=None, gt=0, lt=1)
    """Clip range of the ratio to the old policy around 1; none clips nothing."""
    old_draws_after: int | None = Field(default=None, ge=0, le=1_000_000)
    """Number of updates after which the old policy draws the samples; none: it never does."""
    decay_slope: float = Field(default=0.001, ge=0, le=1)
    """Increase of the old policy's decay with each update."""
    decay_cap: float = Field(default=0.3, ge=0, lt=1)
    """Largest decay of the old policy."""

    def check(self, config: Config) -> None:
        """Refuse several updates per pass, which would cut groups apart."""
        super().check(config)
        if self.updates > 1:
            raise ValueError(
                f"objective.updates is {self.updates}; group-preference compares whole groups, so "
                "that each update takes all samples. Set it to 1, and take fewer prompts per step "
                "or more epochs"
            )

    def unread(self, config: Config) -> dict[str, str]:
        """What an old policy would read, where nothing needs it."""
        found = super().unread(config)
        if not self.reads_old:
            reason = (
                "objective.reference is start, and nothing else reads the old policy: "
                "objective.clip_range and objective.old_draws_after are none"
            )
            found |= dict.fromkeys(("objective.decay_slope", "objective.decay_cap"), reason)
        return found

    @property
    def reads_start(self) -> bool:
        """Whether the initial model is needed."""
        return self.kl > 0 or self.reference == "start"

    @property
    def reads_old(self) -> bool:
        """Whether the old policy is needed."""
        unset = self.clip_range is None and self.old_draws_after is None
        return self.reference == "old" or not unset

    def followers(self, updates: int) -> dict[str, float]:
        """The old policy, where it is needed."""
        decay = ramp(updates, slope=self.decay_slope, cap=self.decay_cap)
        return {"old": decay} if self.reads_old else {}


@final
class GroupPreference(Following[GroupPreferenceConfig]):
    """Matching of samples by their advantages, in which each group has a weight of its own.

    The weight is computed from all samples of a group before each update, so that it depends
    neither on batches nor on processes.
    """

    config_class = GroupPreferenceConfig

    def survey(self, batches: Iterable[Samples], keys: tuple[int, ...]) -> None:
        """The errors of all samples under the policy as it is, and what follows for each group."""
        import torch

        from grpo.group_matching import group_weights
        from grpo.matching import matching_error

        settings = self.settings

        def measure(samples: Samples, noised: Noised) -> tuple[Tensor, ...]:
            needed = {settings.reference, *(["old"] if settings.clip_range is not None else [])}
            found = {name: self.output_of(name, samples, noised) for name in sorted(needed)}
            found["new"] = self.output(samples, noised)
            errors = {name: matching_error(each, noised.target) for name, each in found.items()}
            return (
                samples.advantage,
                errors["new"],
                errors[settings.reference],
                errors.get("old", errors["new"]),
            )

        found = self.measured(batches, keys, measure)
        advantage, error, reference, old = torch.stack([*found.values()]).unbind(2)
        weights = group_weights(
            error,
            reference,
            advantage[:, 0],
            torch.tensor([*found]) // self.config.sampler.group_size,
            beta=settings.beta,
            advantage_clip=self.config.advantage.clamp,
        )
        self._known = dict(zip(found, torch.stack([weights, old], 2), strict=True))

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per timestep."""
        import torch

        from grpo.group_matching import dgpo
        from grpo.loss import kl_v
        from grpo.matching import matching_error
        from rewardkit.devices import sent

        settings = self.settings
        known = torch.stack([self._known[row] for row in samples.rows.tolist()])
        weights, old = sent(known, samples.advantage.device).unbind(2)
        for k, noised in enumerate(self.noised(samples, keys)):
            if settings.kl > 0:
                start = self.output_of("start", samples, noised)
            new = self.output(samples, noised)
            loss = dgpo(
                matching_error(new, noised.target),
                weights[:, k],
                samples.advantage,
                advantage_clip=self.config.advantage.clamp,
                error_old=old[:, k],
                clip_range=settings.clip_range,
            )
            term = Term.of(loss, 1 / settings.timesteps)
            yield term.penalised("kl", kl_v(new, start), settings.kl) if settings.kl > 0 else term

    def behaviour(self) -> AbstractContextManager[Any]:
        """The trained weights, or after some updates those of the old policy."""
        after = self.settings.old_draws_after
        draws = after is not None and self.updates > after
        return self.policy.using("old") if draws else nullcontext()
