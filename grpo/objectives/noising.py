"""Clean samples with noise added again, as far as steps of the sampler: forward processes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from grpo.config.fields import Config, ObjectiveConfig
from grpo.config.sampler import SamplerConfig
from grpo.objectives.objective import Samples

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.sampler import Sampler


class NoisingConfig(ObjectiveConfig):
    """Which noise clean samples are given again, and which copies of the policy see them.

    Attributes:
        decays: the prefix of the settings of each copy's decay, `PREFIX_slope` and so on, as the
            arguments of `ramp`; the setting PREFIX alone is the least decay.
    """

    decays: ClassVar[tuple[str, ...]] = ()

    timesteps: int = Field(ge=1, le=1000)
    """Number of timesteps per sample and pass, from those of the sampler."""
    skip: int = Field(default=0, ge=0, le=999)
    """Number of first steps of the sampler from which no timestep is taken."""
    within: int | None = Field(default=None, ge=1, le=1000)
    """Number of first steps of the sampler within which timesteps are; none takes all."""
    stratified: bool = False
    """Take a timestep from each of equally long parts of these steps, not any of them."""
    noise: Literal["sample", "group"] = "sample"
    """Scope of the shared timesteps and noise: sample, or group (of a prompt)."""
    kl: float = Field(default=0.0, ge=0, le=1000)
    """Weight of the KL penalty to the initial model."""

    def check(self, config: Config) -> None:
        """Refuse a sampler with fewer steps than are trained, or with a window."""
        super().check(config)
        sampler = config.sampler
        if self.within is not None and self.within > sampler.steps:
            raise ValueError(
                f"objective.within is {self.within}; it is at most sampler.steps, {sampler.steps}"
            )
        number = len(self.steps(sampler.steps))
        if self.timesteps > number:
            most = (
                f"sampler.steps, {number}"
                if number == sampler.steps
                else f"{number}, the steps that objective.skip and objective.within leave"
            )
            raise ValueError(f"objective.timesteps is {self.timesteps}; it is at most {most}")
        if sampler.stochastic == "window":
            raise ValueError(
                "sampler.stochastic=window is for policy gradients; the forward process takes all "
                "steps. Set it to all"
            )

    def unread(self, config: Config) -> dict[str, str]:
        """What a decay that never changes would read."""
        found = super().unread(config)
        for decay in self.decays:
            least, slope, cap = getattr(self, decay, 0.0), f"{decay}_slope", f"{decay}_cap"
            if getattr(self, cap) <= least:
                decisive, read = cap, {cap}
            elif getattr(self, slope) == 0:
                decisive, read = slope, {decay, slope}
            else:
                continue
            constant = min(least, getattr(self, cap))
            reason = (
                f"objective.{decisive} is {getattr(self, decisive):g}, so the decay is always "
                f"{constant:g}"
            )
            for name in (decay, f"{decay}_start", slope, cap):
                if hasattr(self, name) and name not in read:
                    found[f"objective.{name}"] = reason
        return found

    def steps(self, number: int) -> range:
        """The steps of a sampler with `number` of them from which timesteps are taken."""
        return range(self.skip, number if self.within is None else self.within)

    def steps_trained(self, sampler: SamplerConfig) -> int:
        """The number of timesteps that is set."""
        return self.timesteps

    @property
    def reads_start(self) -> bool:
        """Whether the initial model is needed."""
        return self.kl > 0

    @abstractmethod
    def followers(self, updates: int) -> dict[str, float]:
        """The copies of the policy that follow it: the decay of each after a number of updates."""

    def copies(self, adapted: bool) -> int:
        """Those that follow, and the initial model unless a LoRA is trained on top of it."""
        return len(self.followers(0)) + (self.reads_start and not adapted)


def ramp(updates: int, *, slope: float, cap: float, start: int = 0, least: float = 0.0) -> float:
    """The decay of a copy of the policy, a moving average of its weights, in [0, 1).

    The decay is `least` at first, and rises by `slope` with each update after `start` up to `cap`.

    Source: NVlabs/DiffusionNFT scripts/train_nft_sd3.py: return_decay; X-GenGroup/Flow-Factory
    trainers/crd.py: compute_decay.
    """
    return min(least + slope * max(updates - start, 0), cap)


@dataclass(frozen=True)
class Noised:
    """A batch of clean samples, each with the noise that a step of the sampler starts with.

    Attributes:
        x0: [n, ...] float32, the clean samples.
        noise: [n, ...] float32, standard normal.
        x: [n, ...] float32, x0 with as much of the noise as the step starts with.
        target: [n, ...] float32, what the network is trained to put out there.
        index: [n] int64, the step of each sample.
        timesteps: [n], what the network is given there.
    """

    x0: Tensor
    noise: Tensor
    x: Tensor
    target: Tensor
    index: Tensor
    timesteps: Tensor


def noised_steps(
    samples: Samples, sampler: Sampler, settings: NoisingConfig, keys: tuple[int, ...]
) -> Iterator[Noised]:
    """Every sample at different steps, which are drawn at random, as is its noise.

    Steps and noise depend on a sample's row in the rollout, or on its group, and not on the batch
    it is in.

    Args:
        samples: the batch.
        sampler: the steps to draw from.
        settings: how many and which steps, and who shares them.
        keys: those of `Objective.terms`.
    """
    import torch

    from rewardkit.devices import sent
    from rewardkit.generators.noise import generator

    x0 = samples.clean
    drawn_for = samples.rows if settings.noise == "sample" else samples.rollout.owner[samples.rows]
    sources = [generator(*keys, number) for number in drawn_for.tolist()]
    steps = settings.steps(sampler.steps)
    if settings.stratified:
        # As scxue/advantage_weighted_matching scripts/train_sd3_awm.py: discrete_wo_init.
        bounds = torch.linspace(steps.start, steps.stop, settings.timesteps + 1).long()
        width = bounds.diff()
        shares = torch.stack([torch.rand(len(width), generator=g) for g in sources])
        order = bounds[:-1] + (shares * width).long()
    else:
        order = torch.stack([torch.randperm(len(steps), generator=g) for g in sources])
        order += steps.start
    for k in range(settings.timesteps):
        index = sent(order[:, k], x0.device)
        noise = sent(
            torch.stack([torch.randn(x0.shape[1:], generator=g) for g in sources]), x0.device
        )
        x = sampler.noised(x0, noise, index)
        target = sampler.target(x0, noise, index)
        yield Noised(x0, noise, x, target, index, sampler.timesteps.to(x0.device)[index])
