"""A schedule with a rule: which Gaussian each denoising step is, by the step's number.

A sampler stands in for a pipeline's scheduler, whose steps have no probability. It is first-order:
a step depends on nothing but where it starts.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
import torch
from torch import Tensor

from grpo import sde
from grpo.schedules import ddim_alpha_bars, ddim_timesteps, timesteps, uniform_sigmas
from grpo.sde import Prediction, Step, column
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from grpo.config.fields import SamplerConfig

_log = logging.getLogger(__name__)

FlowRule = Literal["dance", "flow", "cps", "ode"]
#: Numbers of steps: one for the whole batch, or one per sample, [B] int64 on the sampler's device.
Index = int | Tensor


@dataclass(frozen=True, eq=False)
class Sampler(ABC):
    """T steps, each a Gaussian: step i starts at the noise level i of the schedule.

    Attributes:
        timesteps: what the model is told, [T]; int64 of diffusion models, float32 of flows.
        noise_level: how random the steps are: eta of ddim and dance, a of flow and cps.
    """

    timesteps: Tensor
    noise_level: float

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
        every = torch.arange(self.steps, device=self.timesteps.device)
        zeros = torch.zeros(self.steps, 1, device=every.device)
        std = self.step(zeros, zeros, every).std
        return [int(i) for i in std.flatten().nonzero()]


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
        told = ddim_timesteps(
            config.steps,
            len(ddim.alphas_cumprod),
            spacing=ddim.config.timestep_spacing,
            offset=ddim.config.steps_offset,
        )
        starts, ends = ddim_alpha_bars(ddim.alphas_cumprod, told, ddim.final_alpha_cumprod)
        return cls(
            timesteps=told.to(device),
            noise_level=config.noise_level,
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
            eta=self.noise_level if stochastic else 0.0,
            prediction=self.prediction,
        )

    def noised(self, x0: Tensor, noise: Tensor, index: Index) -> Tensor:
        """sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) noise."""
        a = column(self.starts[index], x0)
        return a.sqrt() * x0.float() + (1 - a).sqrt() * noise.float()

    def as_flow(self, index: Index) -> tuple[Tensor, Tensor]:
        """Of eps, 1 / sqrt(a) and sqrt(1 - a) / sqrt(a); of v, sqrt(a) and sqrt(1 - a)."""
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
        cls, scheduler: Any, config: SamplerConfig, tokens: int, device: torch.device
    ) -> Self:
        """The steps along the sigmas of a diffusers scheduler, or along even ones with its shift.

        Args:
            scheduler: a FlowMatchEulerDiscreteScheduler; it stays as it is.
            config: what to take of it.
            tokens: of a sample; the shift of some schedulers depends on their number.
            device: where the tensors go.

        Raises:
            UsageError: the scheduler is of another class, or its sigmas rise.
        """
        sigmas = _sigmas(scheduler, config, tokens).to(device)
        told = timesteps(
            sigmas,
            truncate=config.truncate_timesteps,
            train_steps=scheduler.config.num_train_timesteps,
        )
        assert config.rule != "ddim"  # a policy refuses what is not among its rules
        return cls(timesteps=told, noise_level=config.noise_level, rule=config.rule, sigmas=sigmas)

    def step(self, output: Tensor, x: Tensor, index: Index, stochastic: bool = True) -> Step:
        """See the function of `grpo.sde` that the rule names."""
        now, then = self.sigmas[index], self.sigmas[index + 1]
        level = self.noise_level
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

    def noised(self, x0: Tensor, noise: Tensor, index: Index) -> Tensor:
        """(1 - sigma) x0 + sigma noise."""
        return sde.noised(x0, noise, self.sigmas[index])

    def as_flow(self, index: Index) -> tuple[Tensor, Tensor]:
        """1 and sigma."""
        sigma = self.sigmas[index]
        return torch.ones_like(sigma), sigma

    @cached_property
    def _second_sigma(self) -> float:
        # Read once: reading it in every step would make the host wait for the device.
        return self.sigmas[1].item()


# Options of a scheduler after which even sigmas are even no more.
_RESHAPED = ("shift_terminal", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


def _sigmas(scheduler: Any, config: SamplerConfig, tokens: int) -> Tensor:
    """Where the steps start and end, [steps + 1], float32.

    The scheduler itself computes them, as its pipeline has it do: "scheduler" is what the pipeline
    of Stable Diffusion 3 asks for, "uniform" what those of FLUX and Qwen-Image do.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    settings = scheduler.config
    if not isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        raise UsageError(
            f"the pipeline's scheduler is a {type(scheduler).__name__}; sigmas are read from a "
            "FlowMatchEulerDiscreteScheduler. Save the pipeline with one"
        )
    if settings.invert_sigmas:
        raise UsageError(
            "the pipeline's scheduler has invert_sigmas set: its sigmas rise from noise at 0, and "
            "steps here go down from noise at 1. Such a model cannot be trained"
        )
    changes = {} if config.shift is None else {"shift": config.shift, "use_dynamic_shifting": False}
    made: Any = FlowMatchEulerDiscreteScheduler  # its from_config comes without types
    own = made.from_config(settings, **changes)
    mu = _mu(own.config, tokens) if own.config.use_dynamic_shifting else None
    if config.schedule == "scheduler":
        own.set_timesteps(config.steps, mu=mu)
    elif mu is None and not any(own.config.get(option) for option in _RESHAPED):
        # Equal to the scheduler's but for float32's last bit, which decides where DanceGRPO
        # truncates a timestep.
        return uniform_sigmas(config.steps, own.config.shift)
    else:
        own.set_timesteps(sigmas=np.linspace(1.0, 1 / config.steps, config.steps), mu=mu)
    sigmas: Tensor = own.sigmas
    return sigmas


def _mu(settings: Any, tokens: int) -> float:
    """How far a scheduler shifts samples of this many tokens: a straight line.

    Source: diffusers src/diffusers/pipelines/stable_diffusion_3/pipeline_stable_diffusion_3.py:
    calculate_shift.
    """
    few, many = settings.base_image_seq_len, settings.max_image_seq_len
    slope = (settings.max_shift - settings.base_shift) / (many - few)
    return float(settings.base_shift + slope * (tokens - few))
