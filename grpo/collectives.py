"""What processes that train together say to each other; every process calls the same in turn."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from grpo.sharding import is_sharded

ItemT = TypeVar("ItemT")

# Elements of gradients that are added up in one message.
_BUCKET = 2**25


def gather(item: ItemT, size: int) -> list[ItemT]:
    """The items of all `size` processes, by rank."""
    items: list[Any] = [None] * size
    dist.all_gather_object(items, item)
    return items


def exchange(items: Sequence[ItemT]) -> list[ItemT]:
    """Sends the r-th item to process r; returns what each process has sent here, by rank."""
    packed = [torch.frombuffer(bytearray(pickle.dumps(i)), dtype=torch.uint8) for i in items]
    sizes = [len(data) for data in packed]
    coming = torch.empty(len(items), dtype=torch.int64)
    dist.all_to_all_single(coming, torch.tensor(sizes))
    received = torch.empty(int(coming.sum()), dtype=torch.uint8)
    splits = coming.tolist()
    dist.all_to_all_single(received, torch.cat(packed), splits, sizes)
    return [pickle.loads(memoryview(part.numpy())) for part in received.split(splits)]


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Gives tensors the values they have in the first process."""
    for tensor in tensors:
        dist.broadcast(tensor.detach(), 0)


def sum_gradients(parameters: Iterable[nn.Parameter], size: int) -> None:
    """Adds up the gradients of all processes; FSDP has added up those of what it shares out.

    A parameter that has a gradient on no process stays without one; one that has none here has
    zeros.
    """
    own = [parameter for parameter in parameters if not is_sharded(parameter)]
    present = gather([parameter.grad is not None for parameter in own], size)
    gradients = []
    for number, parameter in enumerate(own):
        if any(there[number] for there in present):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        sizes = [gradient.numel() for gradient in bucket]
        for gradient, total in zip(bucket, flat.split(sizes), strict=True):
            gradient.copy_(total.view_as(gradient))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients in groups of one dtype and device and of about `_BUCKET` elements."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        elements = sum(other.numel() for other in bucket) + gradient.numel()
        alike = all((o.dtype, o.device) == (gradient.dtype, gradient.device) for o in bucket[:1])
        if bucket and (elements > _BUCKET or not alike):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
