"""Weights shared out among processes: FSDP2, torch's `fully_shard`, as accelerate configures it.

Accelerate reads its own configuration; the work is torch's. Networks are shared out in place, block
by block as they go to the device, and keep their names, their class's methods and the pipeline they
are part of. They compute in the dtypes that one process computes in: parameters are gathered as
they are, and autocast does the rest.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from rewardkit.errors import UsageError


@final
@dataclass(frozen=True)
class Sharding:
    """How networks are shared out.

    Attributes:
        blocks: class names of the modules that are gathered one at a time; empty means those that
            diffusers names for the network.
    """

    blocks: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls) -> Self | None:
        """What accelerate's configuration says; None where weights stay whole.

        Raises:
            UsageError: it says what training cannot do.
        """
        for name, engine in {"DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}.items():
            if _true(f"ACCELERATE_USE_{name}"):
                raise UsageError(
                    f"accelerate is configured for {engine}, which training does not use. Choose "
                    "multi-GPU or FSDP with fsdp_version 2 in `accelerate config`"
                )
        if not _true("ACCELERATE_USE_FSDP"):
            return None
        from accelerate import FullyShardedDataParallelPlugin

        if os.environ.get("FSDP_VERSION", "1") != "2":
            raise UsageError(
                "accelerate is configured for FSDP version 1; training uses version 2. Pass "
                "--fsdp_version 2, or set fsdp_version: 2 in accelerate's configuration"
            )
        plugin = FullyShardedDataParallelPlugin()
        problems = {
            "fsdp_reshard_after_forward is false, and it has to be true: banks of weights change "
            "what is gathered": not plugin.reshard_after_forward,
            "fsdp_offload_params is true, and it has to be false": _true("FSDP_OFFLOAD_PARAMS"),
            "fsdp_activation_checkpointing is true: set policy.gradient_checkpointing=true in its "
            "place": bool(plugin.activation_checkpointing),
        }
        for problem, found in problems.items():
            if found:
                raise UsageError(f"accelerate's configuration: {problem}")
        return cls(tuple(plugin.transformer_cls_names_to_wrap or ()))

    def place(self, network: nn.Module, device: torch.device, size: int) -> None:
        """Shares out a network among `size` processes; this one's share goes to `device`.

        Raises:
            UsageError: no module of the network is of a class in `blocks`.
        """
        mesh = init_device_mesh(device.type, (size,))
        names = self.blocks or tuple(getattr(network, "_no_split_modules", None) or ())
        blocks = [module for module in network.modules() if type(module).__name__ in names]
        if self.blocks and not blocks:
            raise UsageError(
                f"fsdp_transformer_layer_cls_to_wrap names {', '.join(self.blocks)}, but the "
                f"{type(network).__name__} has no such modules. Leave it out for its own blocks"
            )
        for module in [*reversed(blocks), network]:  # inner ones come after outer ones
            shared = fully_shard(module, mesh=mesh, reshard_after_forward=True)
            # Losses are weighted by their share in the whole update: gradients are summed.
            shared.set_force_sum_reduction_for_comms(True)
            shared.set_gradient_divide_factor(1.0)


def is_sharded(tensor: Tensor) -> bool:
    """Whether a process holds a share of the tensor only."""
    return isinstance(tensor, DTensor)


def local(tensor: Tensor) -> Tensor:
    """The share of a tensor that is on this process: all of it, unless it is shared out."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def put(target: Tensor, value: Tensor) -> None:
    """Copies a whole value into a tensor that may be shared out."""
    with torch.no_grad():
        target.copy_(like(value, target))


def like(value: Tensor, target: Tensor) -> Tensor:
    """A whole value shared out as `target` is, on its device; of its rows, only those are read."""
    if not isinstance(target, DTensor):
        return value
    own = value[_rows(target)].to(target.to_local().device, copy=True)
    mesh, placements = target.device_mesh, target.placements
    return DTensor.from_local(
        own, mesh, placements, shape=target.shape, stride=target.stride(), run_check=False
    )


def whole(value: Any, keep: bool = True) -> Any:
    """A state with whole tensors in the place of those that are shared out, on the CPU.

    Every process calls it.

    Args:
        value: tensors in dictionaries, lists and tuples; anything else stays.
        keep: whether this process needs the result; otherwise these tensors are left out.
    """

    def gathered(tensor: Tensor) -> Tensor | None:
        if not isinstance(tensor, DTensor):
            return tensor
        full = tensor.full_tensor()
        return full.cpu() if keep else None

    return _each(gathered, value)


def reserve(state: Any, path: Path) -> None:
    """Writes the file of a state with whole tensors, but for their numbers, which `fill` adds.

    Raises:
        OSError: the disk has no room for them.
    """

    def without_numbers(tensor: Tensor) -> Tensor:
        return torch.empty(tensor.shape, dtype=tensor.dtype)

    with FakeTensorMode(), torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save(_each(without_numbers, state), path)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        # Where the disk is full, writing to a mapped file would kill the process.
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def fill(path: Path, state: Any, first: bool) -> None:
    """Writes this process's share of a state's numbers into the file that `reserve` has made.

    Args:
        path: the file.
        state: what `reserve` was called with in the first process.
        first: whether this process also writes the tensors that are not shared out.
    """
    with torch.serialization.set_default_mmap_options(mmap.MAP_SHARED):
        written = torch.load(path, map_location="cpu", mmap=True, weights_only=True)

    places: list[Tensor] = []
    _each(places.append, written)
    theirs = iter(places)

    def put_there(tensor: Tensor) -> None:
        place = next(theirs)
        if isinstance(tensor, DTensor):
            place[_rows(tensor)].copy_(tensor.to_local())
        elif first:
            place.copy_(tensor)

    with torch.no_grad():
        _each(put_there, state)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _each(work: Callable[[Tensor], Any], value: Any) -> Any:
    """What `work` makes of each tensor in dictionaries, lists and tuples; anything else stays."""
    if isinstance(value, Tensor):
        return work(value)
    if isinstance(value, Mapping):
        return {key: _each(work, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each(work, item) for item in value)
    return value


def _rows(tensor: DTensor) -> slice:
    """The rows of a tensor that are on this process: FSDP cuts the first dimension."""
    size = -(-len(tensor) // tensor.device_mesh.size())
    start = min(size * tensor.device_mesh.get_local_rank(), len(tensor))
    return slice(start, start + len(tensor.to_local()))


def unsharded(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A diffusers network with whole weights, on the CPU; itself where it is not shared out."""
    if not isinstance(network, FSDPModule):
        return network
    made: Any = next(base for base in type(network).__mro__ if not issubclass(base, FSDPModule))
    settings: Any = network
    with torch.device("meta"):
        plain: nn.Module = made.from_config(settings.config)
    plain.load_state_dict(dict(weights), assign=True)
    return plain


def _true(name: str) -> bool:
    return os.environ.get(name, "false").casefold() in ("true", "1", "yes")
