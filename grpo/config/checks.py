"""Settings that do not fit together: what no single field of a configuration can decide.

Each check raises ValueError with what is given, what is accepted and what to do;
`grpo.config.resolve` hands it on as a UsageError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grpo.config.fields import (
        Config,
        ForwardProcess,
        PolicyGradient,
        SamplerConfig,
        ScoringConfig,
    )


def sampler(given: SamplerConfig) -> None:
    """The rule, its noise and its schedule."""
    rule, level = given.rule, given.noise_level
    if rule == "ode" and level > 0:
        raise ValueError(
            f"sampler.rule ode draws no noise, and noise_level {level:g} is given; set it to 0, or "
            "take the rule flow, dance or cps"
        )
    if rule in ("dance", "flow", "cps") and level == 0:
        raise ValueError(
            f"sampler.rule {rule} with noise_level 0 is the rule ode: take that, or a noise_level "
            "above 0"
        )
    if rule in ("ddim", "cps") and level > 1:
        raise ValueError(f"sampler.noise_level {level:g} is given; that of {rule} is at most 1")
    of_a_flow = given.schedule != "scheduler" or given.shift is not None
    if rule == "ddim" and (of_a_flow or given.truncate_timesteps):
        raise ValueError(
            "sampler.rule ddim walks the timesteps of the model's scheduler: schedule is "
            "scheduler, shift is none and truncate_timesteps is false there"
        )
    if given.deterministic and given.noise != "sample":
        raise ValueError(
            f"sampler.noise {given.noise} gives a group one initial noise and no step draws any, "
            "so its samples are one picture, and there is nothing to learn from; take noise "
            "sample, or a rule with a noise_level above 0"
        )
    _window(given)


def scoring(given: ScoringConfig) -> None:
    """Where the rewards' networks are, and where they wait."""
    if given.offload and given.device == "cpu":
        raise ValueError(
            "scoring.offload moves the rewards' networks to the CPU while they are not in use, but "
            "scoring.device is cpu, so they are there already. Set scoring.offload to false"
        )


def run(given: Config) -> None:
    """The sampler, the objective and the optimizer with one another."""
    best, size = given.advantage.best, given.sampler.group_size
    if best is not None and best > size:
        raise ValueError(f"advantage.best {best} is given for groups of {size}; it is at most that")
    updates, trained = given.objective.updates, given.sampler.prompts_per_step * (best or size)
    if updates > trained:
        raise ValueError(
            f"objective.updates {updates} is given for {trained} samples; an update takes at "
            "least one"
        )
    if given.policy.init_lora is not None and given.policy.parameters != "lora":
        raise ValueError(
            "policy.init_lora is given, but policy.parameters is full; a LoRA to start from is "
            "trained as a LoRA. Set policy.parameters to lora, or merge the LoRA with diffusers' "
            "fuse_lora"
        )
    if given.optim.warmup >= given.steps:
        raise ValueError(
            f"optim.warmup {given.optim.warmup} is given for {given.steps} training steps; it is "
            "less than those"
        )
    if given.objective.kind == "policy-gradient":
        _gradient(given.objective, given.sampler)
    else:
        _forward(given.objective, given.sampler)


def _window(given: SamplerConfig) -> None:
    size, within = given.window_size, given.window_within
    if given.stochastic == "all":
        if (size, within) != (None, None):
            raise ValueError(
                "sampler.window_size and window_within are for stochastic window; with all they "
                "are none"
            )
        return
    if size is None or within is None:
        raise ValueError("sampler.stochastic window takes window_size and window_within")
    if given.deterministic:
        raise ValueError("sampler.stochastic window takes a rule with a noise_level above 0")
    if not size <= within <= given.steps:
        raise ValueError(
            f"sampler.window_size {size} inside window_within {within} of {given.steps} steps is "
            "given; window_size <= window_within <= steps"
        )


def _gradient(objective: PolicyGradient, sampler: SamplerConfig) -> None:
    if sampler.deterministic:
        raise ValueError(
            f"sampler.rule {sampler.rule} draws no noise here, so its steps have no probability "
            "and a policy gradient has nothing to follow; take a rule with a noise_level above 0, "
            "or a method of the forward process, such as nft"
        )
    # The last step of cps draws no noise either.
    usable = sampler.steps - (objective.drop_last or sampler.rule == "cps")
    if usable < 1:
        raise ValueError("sampler.steps 1 is given and the last is left out: none is trained on")
    if sampler.stochastic == "all":
        return
    if objective.fraction < 1:
        raise ValueError(
            f"objective.fraction {objective.fraction:g} is given; the steps of a window are all "
            "trained on: it is 1 there"
        )
    assert sampler.window_within is not None
    if sampler.window_within > usable:
        raise ValueError(
            f"sampler.window_within {sampler.window_within} of {sampler.steps} steps is given and "
            f"the last is left out; it is at most {usable}"
        )


def _forward(objective: ForwardProcess, sampler: SamplerConfig) -> None:
    if objective.timesteps > sampler.steps:
        raise ValueError(
            f"objective.timesteps {objective.timesteps} is given; the sampler has "
            f"{sampler.steps} steps"
        )
    if sampler.stochastic == "window":
        raise ValueError(
            "sampler.stochastic window is for policy gradients; the forward process takes all"
        )
