"""How samples are drawn in training: steps, noise and number. Loads no torch."""

from __future__ import annotations

from typing import Literal, Self, final, get_args

from pydantic import Field, model_validator

from grpo.config.section import Section

#: The sampling rules of rectified flows, which are functions of `grpo.sde`.
FlowRule = Literal["dance", "flow", "cps", "ode"]
FLOW_RULES: tuple[FlowRule, ...] = get_args(FlowRule)


@final
class SamplerConfig(Section):
    """How samples are drawn in training: steps, noise and number."""

    rule: Literal["ddim", FlowRule]
    """Sampling rule: ddim for diffusion models, the others for flows."""
    noise_level: float = Field(default=0.0, ge=0, le=10)
    """Amount of noise in a step: eta of ddim and dance, a of flow and cps; 0 for ode."""
    max_std: float | None = Field(default=None, gt=0, le=100)
    """Largest std of a step's noise, to which noise_level is cut; none has no limit."""
    steps: int = Field(ge=1, le=1000)
    """Number of inference steps per sample."""
    guidance: float | None = Field(default=None, ge=0, le=100)
    """Guidance scale, in sampling and in training; none uses the model's own."""
    true_guidance: float | None = Field(default=None, ge=0, le=100)
    """Guidance scale of true_cfg_scale, beside an embedded one; none uses the model's own."""
    negative_prompt: str | None = None
    """Prompt that classifier-free guidance moves away from; none uses the model's own."""
    height: int | None = Field(default=None, ge=8, le=8192)
    """Height of a sample in pixels; none uses the model's own."""
    width: int | None = Field(default=None, ge=8, le=8192)
    """Width of a sample in pixels; none uses the model's own."""
    frames: int | None = Field(default=None, ge=1, le=10_000)
    """Number of frames of a clip; none uses the model's own."""
    fps: float | None = Field(default=None, gt=0, le=1000)
    """Frames per second of a clip; none uses the model's own."""
    max_sequence_length: int | None = Field(default=None, ge=0, le=1024)
    """Number of tokens to which prompts are padded or cut; none uses the model's own."""
    schedule: Literal["uniform", "scheduler"] = "scheduler"
    """Sigmas of a flow: evenly spaced and shifted (FLUX), or those of the scheduler (SD3)."""
    shift: float | None = Field(default=None, gt=0, le=100)
    """Shift of a flow's sigmas; none uses the scheduler's own."""
    truncate_timesteps: bool = False
    """Truncate the timestep given to a flow, 1000 sigma, to a whole number."""
    prompts_per_step: int = Field(ge=1, le=100_000)
    """Number of prompts in a training step."""
    group_size: int = Field(ge=1, le=10_000)
    """Number of samples per prompt; most objectives compare them with one another."""
    batch_size: int = Field(default=1, ge=1, le=10_000)
    """Samples per call of the model; bounds memory, and results differ only by rounding."""
    noise: Literal["sample", "group", "step"] = "sample"
    """Scope of the shared initial noise: sample, group (of a prompt) or training step."""
    stochastic: Literal["all", "window"] = "all"
    """Stochastic steps: all, or a window; other steps follow the ODE."""
    window_size: int | None = Field(default=None, ge=1, le=1000)
    """Number of steps in the window."""
    window_within: int | None = Field(default=None, ge=1, le=1000)
    """Number of first steps within which the window is placed."""
    window_every: int | None = Field(default=None, ge=1, le=1_000_000)
    """Training steps until the window moves on by one step; none places it at random."""

    @property
    def deterministic(self) -> bool:
        """Whether no step draws noise, so that the initial noise determines the sample."""
        return self.noise_level == 0

    @model_validator(mode="after")
    def _rule_fits(self) -> Self:
        rule, level = self.rule, self.noise_level
        if rule == "ode" and level > 0:
            raise ValueError(
                f"sampler.rule ode draws no noise, and noise_level {level:g} is given. Set it to "
                "0, or use the rule flow, dance or cps"
            )
        if rule in ("dance", "flow", "cps") and level == 0:
            raise ValueError(
                f"sampler.rule {rule} with noise_level 0 is the rule ode. Use that rule, or a "
                "noise_level above 0"
            )
        if self.deterministic and self.max_std is not None:
            raise ValueError(
                f"sampler.max_std {self.max_std:g} limits the noise of a step, and noise_level is "
                "0. Leave it out"
            )
        if rule in ("ddim", "cps") and level > 1:
            raise ValueError(f"sampler.noise_level is {level:g}; with {rule} it is at most 1")
        for_flows = self.schedule != "scheduler" or self.shift is not None
        if rule == "ddim" and (for_flows or self.truncate_timesteps):
            raise ValueError(
                "sampler.rule ddim uses the timesteps of the model's scheduler. Set "
                "schedule=scheduler, shift=none and truncate_timesteps=false"
            )
        if self.deterministic and self.noise != "sample":
            raise ValueError(
                f"sampler.noise is {self.noise}, so a group shares its initial noise, and no step "
                "draws any: its samples would all be equal, without a gradient. Use "
                "noise=sample, or a rule with a noise_level above 0"
            )
        return self

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        size, within = self.window_size, self.window_within
        if self.stochastic == "all":
            if (size, within, self.window_every) != (None, None, None):
                raise ValueError(
                    "sampler.window_size, window_within and window_every are for "
                    "stochastic=window; with stochastic=all they are none"
                )
            return self
        if size is None or within is None:
            raise ValueError("sampler.stochastic=window needs window_size and window_within")
        if self.deterministic:
            raise ValueError(
                "sampler.stochastic=window needs a rule with a noise_level above 0, and no step "
                "draws noise here"
            )
        if not size <= within <= self.steps:
            raise ValueError(
                f"sampler.window_size is {size}, window_within {within} and steps {self.steps}; "
                "window_size <= window_within <= steps is needed"
            )
        return self
