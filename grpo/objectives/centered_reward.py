"""Centered reward distillation: the reward that the policy implies follows the one it is given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, final

from pydantic import Field

from grpo.config.fields import Config
from grpo.objectives.following import Following
from grpo.objectives.noising import Noised, NoisingConfig, ramp
from grpo.objectives.objective import Samples, Term

if TYPE_CHECKING:
    from torch import Tensor


@final
class CenteredRewardConfig(NoisingConfig):
    """Centered reward distillation: what a policy implies, less its mean, follows the reward."""

    decays = ("decay", "old_decay")

    beta: float = Field(default=1.0, gt=0, le=1000)
    """Scale of the reward that the policy implies."""
    adaptive: bool = True
    """Divide each squared error by the mean of its absolute values."""
    kl_worst: float = Field(default=1e-4, ge=0, le=1000)
    """Weight of the KL penalty for the worst samples; kl is that for the best."""
    decay_start: int = Field(default=0, ge=0, le=1_000_000)
    """Number of first updates during which the policy that draws samples equals the new one."""
    decay_slope: float = Field(default=0.001, ge=0, le=1)
    """Increase of that policy's decay with each later update."""
    decay_cap: float = Field(default=0.5, ge=0, lt=1)
    """Largest decay of that policy."""
    old_decay: float = Field(default=0.25, ge=0, lt=1)
    """Decay at first of the old policy, beside which the new one implies a reward."""
    old_decay_slope: float = Field(default=0.005, ge=0, le=1)
    """Increase of the old policy's decay with each update."""
    old_decay_cap: float = Field(default=0.999, ge=0, lt=1)
    """Largest decay of the old policy."""

    def unread(self, config: Config) -> dict[str, str]:
        """What a penalty would read, where there is none."""
        found = super().unread(config)
        if self.kl == 0:
            found["objective.kl_worst"] = "objective.kl is 0, so there is no penalty"
        return found

    def followers(self, updates: int) -> dict[str, float]:
        """The policy that draws samples, and the old one."""
        return {
            "drawing": ramp(
                updates, slope=self.decay_slope, cap=self.decay_cap, start=self.decay_start
            ),
            "old": ramp(
                updates, slope=self.old_decay_slope, cap=self.old_decay_cap, least=self.old_decay
            ),
        }


@final
class CenteredReward(Following[CenteredRewardConfig]):
    """Regression of the reward that a policy implies, centered over all samples of an update.

    Its mean is computed before each update, so that it depends neither on batches nor on processes.
    """

    config_class = CenteredRewardConfig

    def survey(self, batches: Iterable[Samples], keys: tuple[int, ...]) -> None:
        """The old policy's errors, and the means of all samples under the policy as it is."""
        import torch

        from grpo.matching import quality

        def measure(samples: Samples, noised: Noised) -> tuple[Tensor, ...]:
            old = self._error(self.output_of("old", samples, noised), noised)
            new = self._error(self.output(samples, noised), noised)
            return quality(samples.advantage, self.config.advantage.clamp), old - new, old

        found = self.measured(batches, keys, measure)
        qualities, rewards, old = torch.stack([*found.values()]).unbind(2)
        self._means = qualities.mean(0), rewards.mean(0)
        self._old = dict(zip(found, old, strict=True))

    def terms(self, samples: Samples, keys: tuple[int, ...]) -> Iterator[Term]:
        """One per timestep."""
        import torch

        from grpo.group_matching import crd, kl_of_quality
        from grpo.matching import quality
        from rewardkit.devices import sent

        settings, clip, device = self.settings, self.config.advantage.clamp, self.policy.device
        qualities = quality(samples.advantage, clip)
        quality_means, reward_means = (sent(each, device) for each in self._means)
        old = sent(torch.stack([self._old[row] for row in samples.rows.tolist()]), device)
        for k, noised in enumerate(self.noised(samples, keys)):
            if settings.kl > 0:
                start = self.output_of("start", samples, noised)
            new = self.output(samples, noised)
            loss = crd(
                old[:, k] - self._error(new, noised),
                qualities,
                reward_means[k],
                quality_means[k],
                beta=settings.beta,
                advantage_clip=clip,
            )
            term = Term.of(loss, 1 / settings.timesteps)
            if settings.kl > 0:
                penalty = kl_of_quality(
                    new, start, qualities, best=settings.kl, worst=settings.kl_worst
                )
                term = term.penalised("kl_weighted", penalty, 1.0)
            yield term

    def behaviour(self) -> AbstractContextManager[Any]:
        """The weights of the policy that draws samples."""
        return self.policy.using("drawing")

    def _error(self, output: Tensor, noised: Noised) -> Tensor:
        from grpo.group_matching import relative_error

        return relative_error(output, noised.target, adaptive=self.settings.adaptive)
