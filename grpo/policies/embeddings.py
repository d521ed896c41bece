"""Embeddings of prompts: made while the text encoders visit the device, kept on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from rewardkit.errors import WeightsError
from rewardkit.generators.placement import visiting

#: Prompts whose embeddings are kept; with T5, one takes up to 5 MB in bfloat16.
REMEMBERED = 512
#: Where text encoders and embeddings are while nothing is embedded.
HOME = torch.device("cpu")

#: A prompt; None is what guidance leads away from.
Text = str | None


@final
class Embeddings:
    """The embeddings of the newest prompts, by the names of the network's arguments.

    Args:
        encoders: the text encoders, at `HOME`.
        device: which they visit.
    """

    def __init__(self, encoders: Sequence[nn.Module], device: torch.device) -> None:
        self._encoders, self._device = encoders, device
        self._kept: dict[Text, dict[str, Tensor]] = {}

    def __contains__(self, text: Text) -> bool:
        return text in self._kept

    def __getitem__(self, text: Text) -> dict[str, Tensor]:
        return self._kept[text]

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, wanted: Mapping[Text, Callable[[], dict[str, Tensor]]]) -> None:
        """Embeds the prompts that are not there; then the newest are kept, and at least these.

        Args:
            wanted: for each prompt, what embeds it, [1, ...] each. The bound is the larger of their
                number and `REMEMBERED`.

        Raises:
            WeightsError: an embedding is not finite.
        """
        new = [text for text in wanted if text not in self._kept]
        if new:
            with visiting(self._encoders, self._device):
                # One at a time: in a batch, the last bits would depend on which others are there,
                # and a run that is resumed would not equal one that was never stopped.
                for text in new:
                    self._kept[text] = _embed(text, wanted[text])
        for text in wanted:
            self._kept[text] = self._kept.pop(text)
        for text in list(self._kept)[: -max(REMEMBERED, len(wanted))]:
            del self._kept[text]


@torch.no_grad()
def _embed(text: Text, embed: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    # Without autocast, which would compute in low precision what its authors keep in float32.
    embedded = {name: tensor[0].to(HOME) for name, tensor in embed().items()}
    for name, tensor in embedded.items():
        if not tensor.isfinite().all():
            of = "the negative prompt" if text is None else repr(text)
            raise WeightsError(
                f"the text encoders make {name} of {of} that is not finite. In float16 many "
                "overflow: take policy.dtype bfloat16. Else their weights are damaged"
            )
    return embedded
