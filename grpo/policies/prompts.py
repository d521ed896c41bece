"""From prompts to conditions: what a policy embeds, remembers and gives its network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from grpo.policies.condition import Condition

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from grpo.policies.embeddings import Embeddings
    from rewardkit.generators.protocol import Protocol
    from rewardkit.media.prompts import PromptLine


class Prompts(ABC):
    """The part of a policy that makes conditions; see `grpo.policies.policy.Policy`."""

    #: What the pipeline's call names each of the embeddings that the network is given.
    embeddings: ClassVar[Mapping[str, str]]

    protocol: Protocol
    device: torch.device
    _embedded: Embeddings

    @abstractmethod
    def _embed(self, prompt: str) -> dict[str, Tensor]:
        """The embeddings of a prompt, [1, ...], by the names of the network's arguments."""

    @property
    def scale(self) -> float:
        """The scale of classifier-free guidance; up to 1 there is none."""
        return self.protocol.guidance or 1.0

    def encode(
        self, lines: Sequence[PromptLine], generators: Sequence[torch.Generator] | None = None
    ) -> Condition:
        """What samples of prompts are made from: their embeddings, and the pictures of some tasks.

        Args:
            lines: B.
            generators: for each line, what is random of its condition is drawn from; None takes
                what is most likely.

        Raises:
            WeightsError: an embedding is not finite.
            InputError: a line's picture cannot be read.
        """
        return self.embed([line.prompt for line in lines])

    def embed(self, prompts: Sequence[str]) -> Condition:
        """The embeddings of prompts, which are remembered.

        Raises:
            WeightsError: an embedding is not finite.
        """
        self.remember(prompts)
        halves = [[self._embedded[prompt] for prompt in prompts]]
        if self.scale > 1:
            halves.insert(0, [self._embedded[None]] * len(prompts))
        return Condition.of(halves, self._shared(), self.device)

    def call_arguments(self, condition: Condition) -> dict[str, Any]:
        """The embeddings of a condition as arguments of the pipeline's call."""
        named: dict[str, Tensor] = {}
        for name, argument in self.embeddings.items():
            *without, named[argument] = condition.per_sample[name]
            if without:
                named[f"negative_{argument}"] = without[0]
        return named

    def remembers(self, prompts: Iterable[str]) -> bool:
        """Whether all of these prompts can be encoded without a visit of the text encoders."""
        return all(prompt in self._embedded for prompt in prompts)

    def remember(self, prompts: Iterable[str]) -> None:
        """Embeds the prompts that are not remembered; the text encoders visit the device for it.

        Raises:
            WeightsError: an embedding is not finite.
        """
        wanted = {prompt: partial(self._embed, prompt) for prompt in prompts}
        self._embedded.add(wanted | ({None: self._negative} if self.scale > 1 else {}))

    def _negative(self) -> dict[str, Tensor]:
        """The embeddings that guidance leads away from, as `_embed` gives them."""
        return self._embed(self.protocol.negative_prompt or "")

    def _shared(self) -> dict[str, Tensor]:
        """Arguments of the network that are the same for every sample; see `Condition`."""
        return {}
