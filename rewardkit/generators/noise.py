"""Randomness by address: the same keys give the same numbers, on any machine, in any batch.

Noise that belongs to (seed, step, prompt, sample), never to a device or a process, is what makes a
run independent of how it is batched, sharded and resumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def generator(*keys: int) -> torch.Generator:
    """A torch generator on the CPU, seeded by all `keys`, each a whole number from 0."""
    import torch

    return torch.Generator().manual_seed(number(*keys))


def sample_seed(seed: int, prompt: int, sample: int) -> int:
    """The seed of a medium: of sample `sample` of the prompt at place `prompt` of a list.

    Everything that samples a list of prompts uses it, so that training, `rewardkit generate` and
    benchmarks make the same media.
    """
    return number(seed, prompt, sample)


def number(*keys: int) -> int:
    """One number from several, below 2^63: a seed for what takes one."""
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> 1)
