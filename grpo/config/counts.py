"""How much work a run is, in counts. Loads no torch."""

from __future__ import annotations

from math import ceil

from grpo.config.fields import Config


def counts(config: Config) -> dict[str, int]:
    """How many samples, calls of the model and updates a configuration makes.

    A call of the model is one of `batch_size` samples, twice as many with guidance. Where groups
    share their noise and only a window is random, the steps before it are drawn once per group:
    calls of a rollout are then fewer.
    """
    sampler, objective = config.sampler, config.objective
    drawn = sampler.prompts_per_step * sampler.group_size
    trained = sampler.prompts_per_step * (config.advantage.best or sampler.group_size)
    updates, steps = objective.updates, objective.steps_trained(sampler)
    parts = [trained // updates + (i < trained % updates) for i in range(updates)]
    per_step = updates * objective.epochs
    return {
        "samples_per_step": drawn,
        "rollout_model_calls": ceil(drawn / sampler.batch_size) * sampler.steps,
        "transitions_stored": drawn * objective.steps_stored(sampler),
        "samples_trained": trained,
        "steps_trained_per_sample": steps,
        "gradient_model_calls_per_pass": sum(ceil(n / sampler.batch_size) for n in parts) * steps,
        "updates_per_step": per_step,
        "total_samples": drawn * config.steps,
        "total_updates": per_step * config.steps,
    }
