"""Embeddings of prompts: made while the text encoders visit the device, kept on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import final

import torch
from torch import Tensor, nn

from rewardkit.errors import WeightsError
from rewardkit.generators.placement import visiting

#: Prompts whose embeddings are kept; with T5, one takes up to 5 MB in bfloat16.
REMEMBERED = 512
#: Where text encoders and embeddings are while nothing is embedded.
HOME = torch.device("cpu")


@final
class Embeddings:
    """The embeddings of the newest prompts, by the names of the network's arguments.

    Args:
        encoders: the text encoders, at `HOME`.
        device: which they visit.
    """

    def __init__(self, encoders: Sequence[nn.Module], device: torch.device) -> None:
        self._encoders, self._device = encoders, device
        self._kept: dict[str, dict[str, Tensor]] = {}

    def __contains__(self, prompt: str) -> bool:
        return prompt in self._kept

    def __getitem__(self, prompt: str) -> dict[str, Tensor]:
        return self._kept[prompt]

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, prompts: Iterable[str], text: Callable[[str], dict[str, Tensor]]) -> None:
        """Embeds the prompts that are not there; then the newest are kept, and at least these.

        Args:
            prompts: any number; the bound is the larger of theirs and `REMEMBERED`.
            text: embeds one prompt, [1, ...] each.

        Raises:
            WeightsError: an embedding is not finite.
        """
        wanted = dict.fromkeys(prompts)
        new = [prompt for prompt in wanted if prompt not in self._kept]
        if new:
            with visiting(self._encoders, self._device):
                # One at a time: in a batch, the last bits would depend on which others are there,
                # and a run that goes on would not equal one that was never stopped.
                self._kept |= {prompt: _embed(prompt, text) for prompt in new}
        for prompt in wanted:  # the newest are the last
            self._kept[prompt] = self._kept.pop(prompt)
        for prompt in list(self._kept)[: -max(REMEMBERED, len(wanted))]:
            del self._kept[prompt]


@torch.no_grad()
def _embed(prompt: str, text: Callable[[str], dict[str, Tensor]]) -> dict[str, Tensor]:
    # Without autocast, which would compute in low precision what its authors keep in float32.
    embedded = {name: tensor[0].to(HOME) for name, tensor in text(prompt).items()}
    for name, tensor in embedded.items():
        if not tensor.isfinite().all():
            raise WeightsError(
                f"the text encoders make {name} of {prompt!r} that is not finite. In float16 many "
                "overflow: take policy.dtype bfloat16. Else their weights are damaged"
            )
    return embedded
