"""Work dealt to processes in whole batches, and samples sent to where they are worked on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

if TYPE_CHECKING:
    from torch import Tensor

ItemT = TypeVar("ItemT")
# Numbers of items: a range, a list, or a tensor of one dimension.
BatchT = TypeVar("BatchT", bound="Sequence[int] | Tensor")


@final
class Shares(Generic[BatchT]):
    """Which process works on which batch: whole batches, dealt in turn.

    Where processes have to keep step, one with fewer batches than others begins with the first
    batch of all, which counts nothing there.

    Args:
        batches: of the items, by their numbers.
        rank: number of this process.
        size: number of processes.
        lockstep: whether all of them have to do equally many batches.

    Attributes:
        mine: batches of this process in order, each with the number of its items that count.
        holders: the processes that work on an item, by its number; the one where it counts first.
    """

    def __init__(
        self, batches: Sequence[BatchT], rank: int = 0, size: int = 1, lockstep: bool = False
    ) -> None:
        self._rank, self._size, self._lockstep = rank, size, lockstep
        turns = -(-len(batches) // size) if lockstep else 0
        idle = [r for r in range(size) if len(range(r, len(batches), size)) < turns]
        self.mine: list[tuple[BatchT, int]] = [(batches[0], 0)] if rank in idle else []
        self.mine += [(batch, len(batch)) for batch in batches[rank::size]]
        self.holders: dict[int, tuple[int, ...]] = {}
        for number, batch in enumerate(batches):
            holders = (number % size, *(idle if number == 0 else ()))
            self.holders |= dict.fromkeys(map(int, batch), holders)

    def alike(self, batches: Sequence[BatchT]) -> Shares[BatchT]:
        """Other batches, dealt to the same processes."""
        return Shares(batches, self._rank, self._size, self._lockstep)

    @staticmethod
    def joined(
        shares: Sequence[Shares[BatchT]], everywhere: Sequence[BatchT] = ()
    ) -> Shares[BatchT]:
        """Several shares of different items as one.

        Args:
            shares: at least one.
            everywhere: batches that all processes hold as well.
        """
        both = shares[0].alike([])
        for share in shares:
            both.mine += share.mine
            both.holders |= share.holders
        for item in (int(item) for batch in everywhere for item in batch):
            first = both.holders[item][0]
            both.holders[item] = (first, *(set(range(both._size)) - {first}))
        return both

    @property
    def counted(self) -> list[int]:
        """The items that count here, in order."""
        return [int(item) for batch, number in self.mine if number for item in batch]

    def outgoing(self, to: Mapping[int, Collection[int]]) -> list[list[int]]:
        """The items that this process sends to each, for all to have those they are to hold.

        Args:
            to: the processes that are to hold an item.
        """
        sent: list[list[int]] = [[] for _ in range(self._size)]
        for item, ranks in to.items():
            if self.holders[item][0] == self._rank:
                for rank in set(ranks) - set(self.holders[item]):
                    sent[rank].append(item)
        return sent

    def move(self, items: Sequence[ItemT | None], to: Mapping[int, Collection[int]]) -> list[Any]:
        """The items by their numbers where they are to be held, and None elsewhere.

        Args:
            items: by their numbers; None where they are not held.
            to: the processes that are to hold an item.
        """
        if self._size == 1:
            return list(items)
        here = self._rank
        kept = [item if here in to.get(i, ()) else None for i, item in enumerate(items)]
        packed = [{i: items[i] for i in numbers} for numbers in self.outgoing(to)]
        for received in self.exchange(packed):
            for number, item in received.items():
                kept[number] = item
        return kept

    def exchange(self, items: Sequence[ItemT]) -> list[ItemT]:
        """Sends the r-th item to process r; returns what each process has sent here, by rank."""
        if self._size == 1:
            return list(items)
        from grpo.collectives import exchange

        return exchange(items)

    def whole_rows(self, rows: Tensor) -> Tensor:
        """Rows by their numbers, [n, ...], each from where it counts: the same on every process."""
        if self._size == 1:
            return rows
        from grpo.collectives import gather

        whole = rows.clone()
        for numbers, values in gather((self.counted, rows[self.counted].cpu()), self._size):
            whole[numbers] = values.to(rows.device)
        return whole


def cut(number: int, size: int) -> list[range]:
    """The numbers from 0 in batches of `size`; the last may be smaller."""
    return [range(begin, min(begin + size, number)) for begin in range(0, number, size)]
