"""Stored transitions: which are drawn at random, and the same steps taken again under weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpo.objectives.objective import Samples

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from grpo.policies.policy import Policy
    from grpo.sampler import Sampler
    from grpo.sde import LogProb, Step


@dataclass(frozen=True)
class Replayed:
    """A stored step of n samples, taken again.

    Attributes:
        output: of the model, [n, ...].
        step: that follows from it.
        log_prob: of the transition that was stored, [n].
    """

    output: Tensor
    step: Step
    log_prob: Tensor


def replay(
    policy: Policy, sampler: Sampler, samples: Samples, k: int, log_prob: LogProb = "gaussian"
) -> Replayed:
    """The samples' k-th stored step under the weights in force, with a gradient if there is one.

    Args:
        policy: whose weights.
        sampler: that the step was taken with.
        samples: the batch.
        k: which of the stored steps.
        log_prob: see `grpo.sde.spread`.
    """
    from grpo import sde
    from rewardkit.devices import sent

    past, device = samples.rollout.transitions, policy.device
    x, x_next = past.step(samples.rows, k, device)
    index = sent(past.index[samples.rows, k], device)
    output = policy.predict(x, sampler.timesteps.to(device)[index], samples.condition)
    step = sampler.step(output, x, index)
    return Replayed(output, step, sde.log_prob(x_next, step.mean, sde.spread(step, log_prob)))


def random_share(rng: np.random.Generator, steps: Sequence[int], number: int, draws: int) -> Tensor:
    """That number of the steps, ascending, drawn at random each time: [draws, number] int64."""
    import numpy as np
    import torch

    drawn = [np.sort(rng.permutation(steps)[:number]) for _ in range(draws)]
    return torch.from_numpy(np.stack(drawn))
