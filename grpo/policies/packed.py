"""Flow transformers over packed latents: what FLUX.1 and Qwen-Image have in common."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from grpo.policies.flow import Flow

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Packed(Flow, ABC):
    """A policy whose samples are tokens, [B, L, 4 C], each a square of 2 x 2 latents.

    Its transformer attends to pixels and text jointly and is given the sigma as the timestep. Its
    pipeline's `guidance_scale` is an input; classifier-free guidance is `true_cfg_scale`.
    """

    @property
    def scale(self) -> float:
        """The scale of classifier-free guidance, which is not the network's input."""
        return self.protocol.true_guidance or 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the noise that is drawn for a sample, before it is packed."""
        channels, height, width = super().shape
        return channels // 4, height, width

    @property
    def squares(self) -> tuple[int, int]:
        """The number of tokens from top to bottom, and from left to right."""
        _, height, width = self.shape
        return height // 2, width // 2

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """What sampling starts from, packed."""
        drawn = super().noise(generators)
        packed: Tensor = self._pipe._pack_latents(drawn, *drawn.shape)
        return packed

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        return super()._output(x, timesteps / 1000, inputs)

    def _mu(self, steps: int) -> float:
        from grpo.schedules import linear_shift

        down, across = self.squares
        return linear_shift(self._pipe.scheduler.config, down * across)
