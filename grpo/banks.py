"""Banks of weights: copies of what a policy trains, which it can run under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn

from grpo.sharding import is_sharded, local, put


@final
class Bank:
    """A copy of trained parameters, by their names.

    Only this class knows how a copy is put in force. Whole parameters are given its tensors, and
    nothing is copied. Those that are shared out among processes are copied into in place, since
    what is gathered for a call is read from there, and that spoils graphs that were made before.
    Code that needs outputs under several weights therefore computes those without a gradient first.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = dict(parameters)
        self.values = {name: p.detach().clone() for name, p in self._parameters.items()}

    def follow(self, decay: float) -> None:
        """Moves to `decay` times itself plus `1 - decay` times the parameters."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                local(self.values[name]).lerp_(local(parameter.detach()), 1 - decay)

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Takes whole values, of a checkpoint."""
        for name, value in self.values.items():
            put(value, values[name])

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Gives the parameters the copy's values inside the block, where there are no gradients."""
        own = {
            name: parameter.detach().clone() if is_sharded(parameter) else parameter.data
            for name, parameter in self._parameters.items()
        }
        with torch.no_grad():
            try:
                self._put(self.values)
                yield
            finally:
                self._put(own)

    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            if is_sharded(parameter):
                local(parameter.detach()).copy_(local(values[name]))
            else:
                parameter.data = values[name]
        # An autocast that surrounds this one keeps its casts by parameter, not by value.
        torch.clear_autocast_cache()
