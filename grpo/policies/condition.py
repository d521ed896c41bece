"""What samples are made from, as the network is told it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from rewardkit.devices import sent


@final
@dataclass(frozen=True)
class Condition:
    """What B samples are made from: arguments of the network, by name.

    Attributes:
        inputs: [H, B, ...]. With guidance H is 2, without and with the prompt, so that the doubled
            batch of a call is a view; without guidance it is 1.
    """

    inputs: Mapping[str, Tensor]

    def index(self, samples: Tensor | Sequence[int]) -> Condition:
        """Of those samples, in that order."""
        rows = torch.as_tensor(samples)
        return Condition(
            {name: tensor[:, sent(rows, tensor.device)] for name, tensor in self.inputs.items()}
        )
