"""Banks of weights: copies of what a policy trains, which it can run under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn


@final
class Bank:
    """A copy of trained parameters, by their names.

    Only this class knows how a copy is put in force: today the parameters are given its tensors,
    and nothing is copied. Parameters that are sharded would be copied into in place, which spoils
    graphs that were made before. Code that needs outputs under several weights therefore
    computes those without a gradient first.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = dict(parameters)
        self.values = {name: p.detach().clone() for name, p in self._parameters.items()}

    def follow(self, decay: float) -> None:
        """Moves to `decay` times itself plus `1 - decay` times the parameters."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                self.values[name].lerp_(parameter.detach(), 1 - decay)

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Takes the values of another copy."""
        with torch.no_grad():
            for name, value in self.values.items():
                value.copy_(values[name])

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Gives the parameters the copy's values inside the block, where there are no gradients."""
        own = {name: parameter.data for name, parameter in self._parameters.items()}
        with torch.no_grad():
            try:
                self._put(self.values)
                yield
            finally:
                self._put(own)

    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.data = values[name]
        # An autocast that surrounds this one keeps its casts by parameter, not by value.
        torch.clear_autocast_cache()
