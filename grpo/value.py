"""A network that expects the reward of a sample from one of its steps."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn


@final
class ValueNetwork(nn.Module):
    """Three layers of 256, each scaled by what is learnt for the step, and a linear one.

    Args:
        inputs: number of numbers in a latent and in the vector of its prompt.
        steps: number of steps of the sampler.

    Source: google-research/google-research dpok/reward_model.py: ValueMulti.
    """

    def __init__(self, inputs: int, steps: int) -> None:
        super().__init__()
        sizes = (inputs, 256, 256, 256)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        scales = [nn.Embedding(steps, size) for size in sizes[1:]]
        self.scales = nn.ModuleList(scales)
        self.last = nn.Linear(sizes[-1], 1)
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and "scales" not in name:
                nn.init.xavier_normal_(parameter)
        for scale in scales:
            nn.init.uniform_(scale.weight)

    def forward(self, x: Tensor, prompt: Tensor, index: Tensor) -> Tensor:
        """The rewards expected, [B].

        Args:
            x: what a step begins with, [B, ...].
            prompt: [B, D].
            index: which step it is, [B] int64.
        """
        hidden = torch.cat([x.flatten(1).float(), prompt.float()], dim=1)
        for layer, scale in zip(self.layers, self.scales, strict=True):
            hidden = torch.relu(scale(index) * layer(hidden))
        return self.last(hidden).flatten()
