"""A schedule with a rule: which Gaussian each denoising step is, by the step's number.

A sampler stands in for a pipeline's scheduler, whose steps have no probability. It is first-order:
a step depends on nothing but where it starts.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, final

import torch
from torch import Tensor

from grpo import sde
from grpo.schedules import ddim_alpha_bars, ddim_timesteps, flow_schedule
from grpo.sde import LogProb, Prediction, Scalar, Step, column, spread

if TYPE_CHECKING:
    from grpo.config.sampler import FlowRule, SamplerConfig

_log = logging.getLogger(__name__)

#: Numbers of steps: one for the whole batch, or one per sample, [B] int64 on the sampler's device.
Index = int | Tensor


@dataclass(frozen=True, eq=False)
class Sampler(ABC):
    """T steps, each a Gaussian: step i starts at the noise level i of the schedule.

    Attributes:
        timesteps: what the network is given, [T]; int64 for diffusion models, float32 for flows.
        noise_level: how random the steps are: eta of ddim and dance, a of flow and cps.
        max_std: the largest std of a step, whose noise level is lowered where it would be larger.
            LongCat-Video (https://arxiv.org/abs/2510.22200) takes 0.45 for `flow` with a = 1.
    """

    timesteps: Tensor
    noise_level: float
    max_std: float = field(default=math.inf, kw_only=True)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.timesteps)

    @abstractmethod
    def step(self, output: Tensor, x: Tensor, index: Index, stochastic: bool = True) -> Step:
        """The step from x, [B, ...], given the model's output there.

        Args:
            output: [B, ...].
            x: [B, ...].
            index: which step.
            stochastic: False takes the same step of the same schedule without noise.
        """

    @abstractmethod
    def noised(self, x0: Tensor, noise: Tensor, index: Index) -> Tensor:
        """A clean sample with the noise that a step starts with, [B, ...], float32."""

    @abstractmethod
    def target(self, x0: Tensor, noise: Tensor, index: Index) -> Tensor:
        """What the network is trained to put out there, [B, ...], float32."""

    @abstractmethod
    def as_flow(self, index: Index) -> tuple[Tensor, Tensor]:
        """A scale and a level per index, such that x0 = scale x - level output; float32.

        With scale x in the place of x, and level in that of sigma, any model is a flow.
        """

    def clean(self, output: Tensor, x: Tensor, index: Index) -> Tensor:
        """The clean sample that the model's output at x implies, [B, ...], float32."""
        scale, level = (column(value, x) for value in self.as_flow(index))
        return scale * x.float() - level * output.float()

    def stochastic_steps(self) -> list[int]:
        """The steps that draw noise, and so have a density: those that can be trained."""
        return [int(i) for i in self.stds().nonzero()]

    def stds(self) -> Tensor:
        """The std of each step's noise, [T]; 0 where it draws none."""
        return self._slopes(True)[1].std.flatten()

    def sizes(self) -> Tensor:
        """How far each step moves without noise per unit of the output: D of a flow; [T]."""
        return self._slopes(False)[0]

    def gradient_factors(self, kind: LogProb) -> Tensor:
        """How strongly each step's log-probability depends on the model's output, [T] float32.

        |d log p / d output| per dimension and unit of the noise z that was drawn, which is
        |d mu / d output| s / spread^2; 0 for a step without noise. A step pulls at the weights in
        proportion to it, unless its loss is weighted.

        Args:
            kind: of the log-probability, see `grpo.sde.spread`.
        """
        slopes, step = self._slopes(True)
        std = step.std.flatten()
        factors = slopes * std / column(spread(step, kind), step.mean).flatten().square()
        return torch.where(std > 0, factors, 0.0)

    @cached_property
    def levels(self) -> Tensor:
        """The noise level of each step under `max_std`, [T]."""
        std = replace(self, max_std=math.inf).stds()
        return self._lowered((self.max_std / std).clamp(max=1))

    def _level(self, index: Index) -> Scalar:
        return self.noise_level if self.max_std == math.inf else self.levels[index]

    def _lowered(self, share: Tensor) -> Tensor:
        """The noise level under which the std is this share of that under `noise_level`."""
        return self.noise_level * share

    def _slopes(self, stochastic: bool) -> tuple[Tensor, Step]:
        """|d mu / d output| of each step, [T], and the steps from 0 with output 0, [T, 1].

        mu is linear in the output.
        """
        every = torch.arange(self.steps, device=self.timesteps.device)
        zeros = torch.zeros(self.steps, 1, device=every.device)
        step = self.step(zeros, zeros, every, stochastic)
        moved = self.step(zeros + 1, zeros, every, stochastic)
        return (moved.mean - step.mean).abs().flatten(), step


@final
@dataclass(frozen=True, eq=False)
class DiffusionSampler(Sampler):
    """DDIM's steps.

    Attributes:
        starts: alpha_bar where each step starts, [T], float32.
        ends: alpha_bar where it ends, [T], float32.
        prediction: what the model puts out.
    """

    starts: Tensor
    ends: Tensor
    prediction: Prediction

    @classmethod
    def from_scheduler(cls, scheduler: Any, config: SamplerConfig, device: torch.device) -> Self:
        """DDIM's steps of the model that a diffusers scheduler, of any class, was made for."""
        from diffusers import DDIMScheduler

        if scheduler.config.get("clip_sample"):
            _log.warning(
                "the scheduler's clip_sample is set: its own pipeline clips the predicted clean "
                "sample to +-%g, and training does not, since latents have no bounds",
                scheduler.config.get("clip_sample_range", 1.0),
            )
        made: Any = DDIMScheduler  # its from_config comes without types
        ddim = made.from_config(scheduler.config)
        walked = ddim_timesteps(ddim, config.steps)
        starts, ends = ddim_alpha_bars(ddim.alphas_cumprod, walked, ddim.final_alpha_cumprod)
        return cls(
            timesteps=walked.to(device),
            noise_level=config.noise_level,
            max_std=config.max_std or math.inf,
            starts=starts.to(device),
            ends=ends.to(device),
            prediction=ddim.config.prediction_type,
        )

    def step(self, output: Tensor, x: Tensor, index: Index, stochastic: bool = True) -> Step:
        """See `grpo.sde.ddim`."""
        return sde.ddim(
            output,
            x,
            self.starts[index],
            self.ends[index],
            eta=self._level(index) if stochastic else 0.0,
            prediction=self.prediction,
        )

    def noised(self, x0: Tensor, noise: Tensor, index: Index) -> Tensor:
        """sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise."""
        a = column(self.starts[index], x0)
        return a.sqrt() * x0.float() + (1 - a).sqrt() * noise.float()

    def target(self, x0: Tensor, noise: Tensor, index: Index) -> Tensor:
        """For eps: the noise; for v: sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x0."""
        if self.prediction == "epsilon":
            return noise.float()
        a = column(self.starts[index], x0)
        return a.sqrt() * noise.float() - (1 - a).sqrt() * x0.float()

    def as_flow(self, index: Index) -> tuple[Tensor, Tensor]:
        """For eps: 1 / sqrt(a) and sqrt(1 - a) / sqrt(a); for v: sqrt(a) and sqrt(1 - a)."""
        a = self.starts[index]
        if self.prediction == "epsilon":
            return 1 / a.sqrt(), ((1 - a) / a).sqrt()
        return a.sqrt(), (1 - a).sqrt()


@final
@dataclass(frozen=True, eq=False)
class FlowSampler(Sampler):
    """The steps of a rectified flow under one of its rules.

    Attributes:
        rule: a function of `grpo.sde`.
        sigmas: where the steps start, and at last end, [T + 1], float32.
    """

    rule: FlowRule
    sigmas: Tensor

    @classmethod
    def from_scheduler(
        cls,
        scheduler: Any,
        config: SamplerConfig,
        device: torch.device,
        *,
        mu: float | None = None,
        even: bool = False,
    ) -> Self:
        """The steps along the sigmas that a diffusers scheduler computes.

        Args:
            scheduler: as for `flow_schedule`; it stays as it is.
            config: the number of steps, the rule, and what differs from the scheduler's own sigmas.
            device: where the tensors go.
            mu: what the pipeline gives its scheduler, see `flow_schedule`; None if nothing.
            even: whether the pipeline gives its scheduler evenly spaced sigmas, from 1 down to
                1 / steps, which it then shifts, as the pipelines of FLUX and Qwen-Image do. If
                False, the scheduler spaces them itself, down to the lowest sigma of its training,
                as in Stable Diffusion 3; `config.schedule` "uniform" makes them even all the same.

        Raises:
            UsageError: the scheduler is of another class, or its sigmas rise.
        """
        sigmas, timesteps = flow_schedule(
            scheduler,
            config.steps,
            mu=mu,
            shift=config.shift,
            even=even or config.schedule == "uniform",
            truncate=config.truncate_timesteps,
        )
        assert config.rule != "ddim"  # a policy refuses what is not among its rules
        return cls(
            timesteps=timesteps.to(device),
            noise_level=config.noise_level,
            max_std=config.max_std or math.inf,
            rule=config.rule,
            sigmas=sigmas.to(device),
        )

    def step(self, output: Tensor, x: Tensor, index: Index, stochastic: bool = True) -> Step:
        """See the function of `grpo.sde` that the rule names."""
        now, then = self.sigmas[index], self.sigmas[index + 1]
        level = self._level(index)
        match self.rule if stochastic else "ode":
            case "dance":
                return sde.dance(output, x, now, then, eta=level)
            case "flow":
                return sde.flow(
                    output, x, now, then, noise_level=level, sigma_max=self._second_sigma
                )
            case "cps":
                return sde.cps(output, x, now, then, noise_level=level)
            case "ode":
                return sde.ode(output, x, now, then)

    def _lowered(self, share: Tensor) -> Tensor:
        if self.rule != "cps":  # whose std is sigma' sin(a pi / 2)
            return super()._lowered(share)
        return (share * math.sin(self.noise_level * math.pi / 2)).asin() * (2 / math.pi)

    def noised(self, x0: Tensor, noise: Tensor, index: Index) -> Tensor:
        """(1 - sigma) x0 + sigma noise."""
        return sde.noised(x0, noise, self.sigmas[index])

    def target(self, x0: Tensor, noise: Tensor, index: Index) -> Tensor:
        """Noise - x0."""
        return noise.float() - x0.float()

    def as_flow(self, index: Index) -> tuple[Tensor, Tensor]:
        """1 and sigma."""
        sigma = self.sigmas[index]
        return torch.ones_like(sigma), sigma

    @cached_property
    def _second_sigma(self) -> float:
        # Read once: reading it in every step would make the host wait for the device.
        return self.sigmas[1].item()
