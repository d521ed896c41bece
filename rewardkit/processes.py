"""The processes of one job, as a launcher (torchrun, `accelerate launch`) starts them.

Only this file reads the launcher's environment. Each process does its share of the work; they meet
through torch.distributed on the CPU (gloo), which also tells them that one of them has ended.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar, final

from rewardkit.errors import RewardKitError, UsageError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_T = TypeVar("_T")

# A process that does not start is noticed soon. After that one may wait for another for days: a
# process that ends closes its connections, and those that wait for it fail at once.
_TO_START = timedelta(minutes=10)
_TO_MEET = timedelta(days=30)


class AnotherProcessFailed(RewardKitError):
    """Another process of the job has ended or failed, and says why itself."""

    def __init__(self) -> None:
        super().__init__("another process of this job has ended. The same command resumes")


@final
@dataclass(frozen=True)
class Processes:
    """The processes of a job, and which of them this is. By default, it is the only one.

    Attributes:
        rank: the number of this process, from 0.
        size: the number of processes.
        local_rank: the number of this process on its machine, from 0.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @classmethod
    def of_launcher(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The processes that a launcher describes in RANK, WORLD_SIZE and LOCAL_RANK.

        Raises:
            UsageError: the variables are incomplete, or are no numbers.
        """
        if environment.get("WORLD_SIZE", "1") == "1":
            return cls()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        values = [environment.get(name, "") for name in names]
        known = all(value.isdecimal() for value in values)
        rank, size, local_rank = map(int, values) if known else (0, 0, 0)
        reachable = (
            environment.get("MASTER_ADDR") and environment.get("MASTER_PORT", "").isdecimal()
        )
        if not reachable or not rank < size:
            given = ", ".join(
                f"{n} is {environment.get(n)!r}" for n in (*names, "MASTER_ADDR", "MASTER_PORT")
            )
            raise UsageError(
                "several processes need the numbers RANK < WORLD_SIZE and LOCAL_RANK, and the "
                f"address MASTER_ADDR and MASTER_PORT of the first; {given}. Start them with "
                "torchrun or accelerate launch, or unset WORLD_SIZE"
            )
        return cls(rank, size, local_rank)

    @property
    def first(self) -> bool:
        """Whether this is the process that prints and writes results."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def owns(self, number: int) -> bool:
        """Whether this process does a piece of the work, by its number from 0: every size-th."""
        return number % self.size == self.rank

    def device(self, name: str) -> str:
        """The device of this process: "auto" and "cuda" mean another GPU in each process.

        More processes than GPUs share them.
        """
        if self.alone or name not in ("auto", "cuda"):
            return name
        import torch

        if not torch.cuda.is_available():
            return name
        own = self.local_rank % torch.cuda.device_count()
        torch.cuda.set_device(own)  # for code that asks for "cuda" without a number
        return f"cuda:{own}"

    def meet(self) -> None:
        """Waits for all other processes.

        Raises:
            AnotherProcessFailed: one has ended.
        """
        self.share(lambda: None)

    def share(self, make: Callable[[], _T]) -> _T:
        """What `make` returns in the first process; the others wait for it and get a copy.

        The first waits until all the others are there, so that nothing before is unfinished.

        Raises:
            AnotherProcessFailed: `make` failed in the first process, or a process has ended.
        """
        if self.alone:
            return make()
        _barrier(self)
        if not self.first:
            made, value = _broadcast(self, None)
            if not made:
                raise AnotherProcessFailed
            return value
        try:
            value = make()
        except Exception:
            with suppress(AnotherProcessFailed):
                _broadcast(self, (False, None))
            raise
        _broadcast(self, (True, value))
        return value

    def in_order(self, make: Callable[[], _T]) -> _T:
        """What `make` returns, called in the first process and, if that succeeds, in the others.

        So files are downloaded once, and what all processes would refuse is said once.

        Raises:
            AnotherProcessFailed: it failed in the first process, or a process has ended.
        """
        made: list[_T] = []
        self.share(lambda: made.append(make()))
        return made[0] if made else make()


ALONE = Processes()


def _barrier(processes: Processes) -> None:
    import torch.distributed as dist

    group = _group(processes)
    try:
        dist.barrier(group=group)
    except RuntimeError as error:
        raise AnotherProcessFailed from error


def _broadcast(processes: Processes, value: Any) -> Any:
    import torch.distributed as dist

    values = [value]
    try:
        dist.broadcast_object_list(values, src=0, group=_group(processes))
    except RuntimeError as error:
        raise AnotherProcessFailed from error
    return values[0]


@functools.cache
def _group(processes: Processes) -> ProcessGroup:
    """The group of all processes, on the CPU."""
    import torch.distributed as dist

    try:
        if not dist.is_initialized():
            dist.init_process_group(
                "gloo", rank=processes.rank, world_size=processes.size, timeout=_TO_START
            )
            atexit.register(dist.destroy_process_group)
        group = dist.new_group(backend="gloo", timeout=_TO_MEET)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise RewardKitError(
            f"the {processes.size} processes of this job cannot reach each other: {reason}. "
            "Check MASTER_ADDR and MASTER_PORT, and GLOO_SOCKET_IFNAME, the network to use"
        ) from error
    assert isinstance(group, dist.ProcessGroup), "every process is in it"
    return group
