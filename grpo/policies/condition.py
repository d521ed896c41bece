"""What samples are made from: the network's arguments beside the sample and its timestep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, final

from rewardkit.devices import sent

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@final
@dataclass(frozen=True)
class Condition:
    """What B samples are made from: arguments of the network, by name.

    Attributes:
        per_sample: [H, B, ...]. Under classifier-free guidance H is 2, without and with the prompt,
            so that the doubled batch of a call is a view; otherwise it is 1. What both halves share
            may have H = 1 under guidance too.
        shared: what is the same for every sample, without a batch dimension, such as positions.
    """

    per_sample: Mapping[str, Tensor]
    shared: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        halves: Sequence[Sequence[Mapping[str, Tensor]]],
        shared: Mapping[str, Tensor],
        device: torch.device,
    ) -> Self:
        """The condition of B samples whose embeddings are given one by one.

        Texts of different lengths [L, ...] are padded with zeros to the longest: a policy whose
        texts differ in length keeps a mask of ones [L] among its embeddings.

        Args:
            halves: H times B embeddings, each by the names of the network's arguments.
            shared: as in the attributes.
            device: where the tensors go.
        """
        from torch.nn.utils.rnn import pad_sequence

        flat = [embedding for half in halves for embedding in half]
        size = len(halves[0])
        return cls(
            {
                name: sent(
                    pad_sequence([embedding[name] for embedding in flat], batch_first=True)
                    .unflatten(0, (len(halves), size)),
                    device,
                )
                for name in flat[0]
            },
            {name: sent(tensor, device) for name, tensor in shared.items()},
        )  # fmt: skip

    @property
    def halves(self) -> int:
        """H: 2 under classifier-free guidance, otherwise 1."""
        return max(len(tensor) for tensor in self.per_sample.values())

    def index(self, samples: Tensor | Sequence[int]) -> Condition:
        """The condition of those samples, in that order."""
        import torch

        rows = torch.as_tensor(samples)
        return Condition(
            {
                name: tensor[:, sent(rows, tensor.device)]
                for name, tensor in self.per_sample.items()
            },
            self.shared,
        )

    def pooled(self) -> Tensor:
        """A vector for each sample, of what it is made from: [B, D], float32.

        It is for a network that reads prompts whatever the family is, such as a value network. It
        joins the means of the tensors of the half with the prompt: of texts [B, L, D] over their
        tokens, of pictures [B, D, ...] over their pixels. D depends on the model alone.
        """
        import torch

        tensors = [tensor[-1] for tensor in self.per_sample.values()]
        masks = [tensor for tensor in tensors if not tensor.is_floating_point()]
        return torch.cat(
            [_mean(tensor.float(), masks) for tensor in tensors if tensor.is_floating_point()], 1
        )

    def arguments(self) -> dict[str, Tensor]:
        """The arguments of one call for all halves, [H B, ...], and the shared ones as they are."""
        return {
            name: tensor.expand(self.halves, *tensor.shape[1:]).flatten(0, 1)
            for name, tensor in self.per_sample.items()
        } | dict(self.shared)


def _mean(values: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """The mean over tokens or pixels, [B, D]; of a text, without the padding under its mask."""
    if values.ndim != 3:
        return values.flatten(2).mean(2) if values.ndim > 3 else values
    counted = [mask for mask in masks if mask.shape == values.shape[:2]]
    if not counted:
        return values.mean(1)
    weights = counted[0].unsqueeze(2).float()
    return (values * weights).sum(1) / weights.sum(1)
