"""Where a rollout stores the states of its samples, each once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Slots:
    """Where the states of N samples are stored, so that none is stored twice.

    Attributes:
        state: [N, S] int64, what is stored; state i is what step i begins with.
        start: [N, K] int64, the slot of a kept step's x.
        end: [N, K] int64, the slot of its x_next.
    """

    state: Tensor
    start: Tensor
    end: Tensor

    @classmethod
    def of(cls, kept: Tensor) -> Slots:
        """The slots of samples whose steps `kept`, [N, K], are stored."""
        rows = [sorted({*row, *(i + 1 for i in row)}) for row in kept.tolist()]
        width = max(map(len, rows), default=0)
        # Samples with fewer states than others fill up with their last one.
        state = torch.tensor([row + row[-1:] * (width - len(row)) for row in rows])
        state = state.long().view(len(kept), width)
        kept = kept.contiguous()
        return cls(state, torch.searchsorted(state, kept), torch.searchsorted(state, kept + 1))


def chosen(by_number: dict[int, Tensor], numbers: Tensor, like: Tensor) -> Tensor:
    """The stored values of each sample under its numbers, [b, K]: [b, K, ...] on the CPU.

    Args:
        by_number: [b, ...] each.
        numbers: [b, K].
        like: [b, ...]; gives shape and dtype if nothing is stored.
    """
    if not by_number:
        return like.new_empty(len(like), 0, *like.shape[1:], device="cpu")
    there = torch.tensor(sorted(by_number))
    every = torch.stack([by_number[i] for i in sorted(by_number)], dim=1).cpu()
    return every[torch.arange(len(every))[:, None], torch.searchsorted(there, numbers)]
