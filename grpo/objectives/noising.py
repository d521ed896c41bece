"""Clean samples with noise added again, as far as steps of the sampler: forward processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpo.objectives.objective import Samples

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.sampler import Sampler


@dataclass(frozen=True)
class Noised:
    """A batch of clean samples, each with the noise that a step of the sampler starts with.

    Attributes:
        x0: [n, ...] float32, the clean samples.
        noise: [n, ...] float32, standard normal.
        x: [n, ...] float32, x0 with as much of the noise as the step starts with.
        index: [n] int64, the step of each sample.
        timesteps: [n], what the network is given there.
    """

    x0: Tensor
    noise: Tensor
    x: Tensor
    index: Tensor
    timesteps: Tensor


def noised_steps(
    samples: Samples, sampler: Sampler, number: int, keys: tuple[int, ...]
) -> Iterator[Noised]:
    """Every sample at `number` different steps, which are drawn at random, as is its noise.

    Steps and noise depend on a sample's row in the rollout, and not on the batch it is in.

    Args:
        samples: the batch.
        sampler: the steps to draw from.
        number: of steps, at most `sampler.steps`.
        keys: those of `Objective.terms`.
    """
    import torch

    from rewardkit.devices import sent
    from rewardkit.generators.noise import generator

    x0 = samples.clean
    sources = [generator(*keys, row) for row in samples.rows.tolist()]
    order = torch.stack([torch.randperm(sampler.steps, generator=g) for g in sources])
    for k in range(number):
        index = sent(order[:, k], x0.device)
        noise = sent(
            torch.stack([torch.randn(x0.shape[1:], generator=g) for g in sources]), x0.device
        )
        x = sampler.noised(x0, noise, index)
        yield Noised(x0, noise, x, index, sampler.timesteps.to(x0.device)[index])
