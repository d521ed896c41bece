"""The figures of a training step, as they are logged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import final

import torch
from torch import Tensor

from grpo.advantage import Advantages
from grpo.distributed import World


@final
@dataclass
class Figures:
    """The figures of one training step.

    Attributes:
        values: by name, as they go into metrics.jsonl.
        seconds: per phase.
    """

    values: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the seconds of the block."""
        began = perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - began

    def scored(self, scores: Mapping[str, Tensor], advantages: Advantages) -> None:
        """Adds each reward's mean, its spread in a group, and how many groups have no gradient."""
        for name, values in scores.items():
            self.values[f"reward/{name}"] = float(values.mean())
            if values.shape[1] > 1:
                self.values[f"reward_std/{name}"] = float(values.std(dim=1).mean())
        self.values["groups_dropped"] = float((~advantages.kept).sum())


@final
class Means:
    """Weighted means of scalars that stay on their device until they are read."""

    def __init__(self) -> None:
        self._entries: dict[str, list[tuple[float, Tensor]]] = {}

    def add(self, weight: float, values: Mapping[str, Tensor]) -> None:
        """Adds a value to the mean of each name."""
        for name, value in values.items():
            self._entries.setdefault(name, []).append((weight, value.detach()))

    def join(self, other: Means) -> None:
        """Add all values of another one."""
        for name, entries in other._entries.items():
            self._entries.setdefault(name, []).extend(entries)

    def joined(self, world: World) -> Means:
        """The means over the values of all processes."""
        if world.size == 1:
            return self
        mine = {
            name: ([weight for weight, _ in entries], torch.stack([v for _, v in entries]).cpu())
            for name, entries in self._entries.items()
        }
        both = Means()
        for theirs in world.gather(mine):
            for name, (weights, values) in theirs.items():
                for weight, value in zip(weights, values, strict=True):
                    both.add(weight, {name: value})
        return both

    def values(self) -> dict[str, float]:
        """The means by name."""
        return {
            name: float(sum(w * v for w, v in entries) / sum(w for w, _ in entries))
            for name, entries in self._entries.items()
        }
