"""Training on many processes: the only file that knows of ranks.

Every process runs the same program, and the loop is that of one. A step's work is cut into the
batches that one process would make, and these are dealt to the processes in turn (`World.deal`), so
that noise, media and scores are equal to the bit whatever the number of processes: kernels may
round differently in batches of other sizes. A sample that one process draws and another scores or
trains on is sent there (`grpo.shares`); scores are gathered, and advantages computed by all.

A gradient is the sum over the processes of losses weighted by their share in the whole update, so
it is what one process would have taken, also where shares are unequal. It is added up once per
update, after the last batch. DistributedDataParallel would add it up in every backward pass, and
would wait forever for a process with fewer batches than the others.

Weights are on every process whole, or shared out by FSDP2 where accelerate's configuration says so
(`grpo.sharding`); then each call of a network is a meeting of all processes. A process with one
batch less repeats the first one, which counts nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, final

from grpo.shares import BatchT, Shares
from rewardkit.devices import pick_device
from rewardkit.errors import RewardKitError, UsageError
from rewardkit.processes import Processes
from rewardkit.records.storage import atomic_write

if TYPE_CHECKING:
    import torch
    from torch import nn

    from grpo.config.fields import Config
    from grpo.sharding import Sharding
    from grpo.watch import Watch

ItemT = TypeVar("ItemT")

#: How long a process waits for the others. They wait while the first one writes a checkpoint.
TIMEOUT = timedelta(hours=1)


@final
class World:
    """The processes that train together; a single one unless a launcher started more.

    Entering the context joins them; leaving it without an error waits for all. An error in one
    ends all of them: only the first that failed passes its error on, the others exit with code 1.

    Args:
        rank: number of this process.
        size: number of processes.
        local_rank: number of this process among those of its machine.
        local_size: number of processes of its machine.

    Attributes:
        sharding: how networks are shared out; None keeps them whole on every process. Known once
            the processes have joined.
    """

    def __init__(
        self, rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1
    ) -> None:
        self.rank, self.size = rank, size
        self.sharding: Sharding | None = None
        self._local_rank, self._local_size = local_rank, local_size
        self._watch: Watch | None = None
        self._depth = 0

    @classmethod
    def of_environment(cls) -> Self:
        """The world of the environment variables that torchrun and accelerate set.

        Raises:
            UsageError: they are incomplete, or are no numbers.
        """
        processes = Processes.of_launcher()
        if processes.alone:
            return cls()
        # Under it, transformers would load the weights of text encoders and rewards in the first
        # process alone; here each process needs its own.
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
        here = int(os.environ.get("LOCAL_WORLD_SIZE", processes.size))
        return cls(processes.rank, processes.size, processes.local_rank, here)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and reports."""
        return self.rank == 0

    @property
    def lockstep(self) -> bool:
        """Whether all processes have to call networks equally often."""
        return self.sharding is not None

    def __enter__(self) -> Self:
        """Joins the other processes.

        Raises:
            UsageError: accelerate is configured for something that training cannot do.
        """
        self._depth += 1
        if self.size == 1 or self._depth > 1:
            return self
        import torch
        import torch.distributed as dist
        from torch.distributed.rendezvous import rendezvous

        from grpo.sharding import Sharding
        from grpo.watch import Watch

        # NCCL refuses two processes on one GPU.
        enough = self._local_size <= torch.cuda.device_count()
        store, _, _ = next(rendezvous("env://", self.rank, self.size, timeout=TIMEOUT))
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if enough else "gloo",
            store=dist.PrefixStore("group", store),  # type: ignore[attr-defined]
            rank=self.rank,
            world_size=self.size,
            timeout=TIMEOUT,
        )
        self._watch = Watch(store.clone(), store.clone(), self.size)
        if not self.first:  # what one process says all would say
            logging.disable(logging.WARNING)
        try:
            self.sharding = Sharding.of_environment()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for the other processes, or ends them."""
        self._depth -= 1
        if self._watch is None or self._depth:
            return
        import torch.distributed as dist

        watch, self._watch = self._watch, None
        logging.disable(logging.NOTSET)
        if error is None:
            try:
                self.gather(None)
                watch.close()
                return dist.destroy_process_group()
            except RuntimeError as gone:
                error = gone
        # Other processes may be waiting in a collective, so the group cannot be left properly.
        watch.fail(error)
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise RewardKitError(
                "another process of the run has ended without a message, or does not answer: it "
                "was killed, or its machine is out of memory. Resume with --resume"
            ) from error

    def device(self, name: str) -> torch.device:
        """The device of this process; "auto" and "cuda" are one GPU of the machine each.

        Raises:
            UsageError: this machine has no such device, or it is one for all processes.
        """
        if self.size > 1 and name not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"device {name!r} is given for {self.size} processes. Accepted: auto, cpu, and "
                "cuda, which gives each process of a machine its own GPU"
            )
        return pick_device(Processes(self.rank, self.size, self._local_rank).device(name))

    def check(self, config: Config) -> None:
        """Refuses what does not work on several processes.

        Raises:
            UsageError: with what to set.
        """
        if self.size == 1:
            return
        device = config.scoring.device
        if device is not None and ":" in device:
            raise UsageError(
                f"scoring.device is {device!r}, and {self.size} processes train together. Set it "
                "to cpu, or to cuda, each process's own GPU"
            )
        precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        wanted = {"no": config.policy.dtype, "bf16": "bfloat16", "fp16": "float16"}.get(precision)
        if wanted != config.policy.dtype:
            raise UsageError(
                f"accelerate's mixed_precision is {precision}, and policy.dtype, which decides, is "
                f"{config.policy.dtype}. Set mixed_precision to no, or policy.dtype to its dtype"
            )
        if self.sharding is not None and config.policy.dtype == "float16":
            raise UsageError(
                "policy.dtype is float16, whose gradients are scaled, and FSDP shares them out. "
                "Set policy.dtype to bfloat16, or train without FSDP"
            )

    def place(self, network: nn.Module, device: torch.device) -> None:
        """Moves a network that is trained to `device`, or this process's share of it."""
        from torch import nn

        if self.sharding is not None:
            self.sharding.place(network, device, self.size)
        else:  # diffusers' own `to` warns of modules to be left in float32 where there are none
            nn.Module.to(network, device)

    def deal(self, batches: Sequence[BatchT]) -> Shares[BatchT]:
        """Deals batches of the items they number to the processes, in turn."""
        return Shares(batches, self.rank, self.size, self.lockstep)

    def gather(self, item: ItemT) -> list[ItemT]:
        """The items of all processes, by rank; every process calls it at the same place."""
        return [item] if self.size == 1 else collectives().gather(item, self.size)

    def whole(self, state: Any) -> Any:
        """A state without shared out tensors, for the first process to write."""
        if self.sharding is None:
            return state
        from grpo.sharding import whole

        return whole(state, keep=self.first)

    def write(self, state: Any, path: Path) -> None:
        """Writes what `torch.save` writes, whole or not at all; every process calls it.

        Of tensors that are shared out each process writes its share, and nothing is gathered.

        Raises:
            InputError: the disk does not take it.
        """
        if self.sharding is None and not self.first:
            return
        with atomic_write(path) if self.first else nullcontext(path) as file:
            if self.sharding is None:
                import torch

                return torch.save(state, file)
            from grpo.sharding import fill, reserve

            if self.first:
                reserve(state, file)
            file = self.gather(file)[0]
            # Machines that share a disk may keep each other's parts of a page from it: in turn.
            turns = 1 if self._local_size == self.size else self.size
            for turn in range(turns):
                if turn == self.rank % turns:
                    fill(file, state, self.first)
                self.gather(None)

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on any process."""
        return any(self.gather(flag))

    def agree(self, what: str, value: object) -> None:
        """Ends the run where processes differ in a value they have to share.

        Raises:
            RewardKitError: naming the first process that differs from the first one.
        """
        values = self.gather(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise RewardKitError(
                    f"{what} is {values[0]} on process 0 and {other} on process {rank}. All "
                    "machines have to see the same files: put --out, the model and the prompts on "
                    "a disk they share"
                )

    def start_equal(self, modules: Iterable[nn.Module]) -> None:
        """Gives modules that each process made itself the values of the first process."""
        for module in modules if self.size > 1 else ():
            collectives().broadcast([*module.parameters(), *module.buffers()])

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Adds up the gradients of all processes; those of shared out parameters are already.

        A parameter that has a gradient on no process stays without one.
        """
        if self.size > 1:
            collectives().sum_gradients(parameters, self.size)


def collectives() -> Any:
    """`grpo.collectives`, which loads torch."""
    import grpo.collectives

    return grpo.collectives
