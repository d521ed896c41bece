"""Stored transitions: which are drawn at random, and the same steps taken again under weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpo.objectives.objective import Samples

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from grpo.distributed import World
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


def replayed_log_probs(
    policy: Policy, sampler: Sampler, samples: Samples, log_prob: LogProb = "gaussian"
) -> Tensor:
    """Log-probabilities of stored steps under the current weights, [n, K], on the CPU."""
    import torch

    steps = range(samples.rollout.transitions.index.shape[1])
    with torch.no_grad():
        columns = [replay(policy, sampler, samples, k, log_prob).log_prob for k in steps]
    return torch.stack(columns, dim=1).cpu()


def check_log_probs(
    world: World,
    probes: Iterable[Samples],
    batches: Callable[[], Iterable[Samples]],
    replayed: Callable[[Samples], Tensor],
    clip_range: float | None,
) -> dict[str, float]:
    """Error of log-probabilities replayed before any update, by step: `drift/step_I`.

    Sampling and training may round differently: by the batch, by what autocast keeps in float32,
    by what a device makes of float32. One batch of each size is replayed, as updates will. Where
    rounding moves one by more than a third of the clip range, the ratio could be clipped for it
    alone; then all are computed again, as training does.

    Args:
        world: the processes that train together.
        probes: as for `Objective.before_updates`.
        batches: as there.
        replayed: as `replayed_log_probs` for some samples.
        clip_range: range of the ratio around 1; None computes nothing again.

    Returns:
        Figures to log, and `log_probs_recomputed` where they were.
    """
    import torch

    drifts, steps = [], []
    for batch in probes:
        past = batch.rollout.transitions
        drifts.append((replayed(batch) - past.log_prob[batch.rows]).abs())
        steps.append(past.index[batch.rows])
    drift, index = torch.cat(drifts), torch.cat(steps)
    figures = {
        f"drift/step_{i}": float(drift[index == i].mean())
        for i in sorted(set(index.flatten().tolist()))
    }
    if clip_range is not None and world.any(float(drift.max()) > clip_range / 3):
        for batch in batches():
            batch.rollout.transitions.log_prob[batch.rows] = replayed(batch)
        figures["log_probs_recomputed"] = 1.0
    return figures


def random_share(rng: np.random.Generator, steps: Sequence[int], number: int, draws: int) -> Tensor:
    """That number of the steps, ascending, drawn at random each time: [draws, number] int64."""
    import numpy as np
    import torch

    drawn = [np.sort(rng.permutation(steps)[:number]) for _ in range(draws)]
    return torch.from_numpy(np.stack(drawn))
