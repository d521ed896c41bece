"""Networks in a dtype and on a device: cast as their authors load them, moved for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn


def cast(network: nn.Module, dtype: torch.dtype) -> None:
    """Casts a network in place; the modules its authors keep in float32 stay in it.

    The result is what `from_pretrained(dtype=...)` of its library gives: T5 in float16, for
    instance, overflows unless its `wo` is in float32.

    Args:
        network: of diffusers or transformers, or any other, of which all is cast.
        dtype: of its floating-point parameters and buffers.
    """
    import torch

    kept = _in_float32(network, dtype)
    for own in (network.named_parameters(), network.named_buffers()):
        for name, tensor in own:
            if tensor.is_floating_point():
                exact = not kept.isdisjoint(name.split("."))
                tensor.data = tensor.data.to(torch.float32 if exact else dtype)


def _in_float32(network: nn.Module, dtype: torch.dtype) -> set[str]:
    """Names of modules that stay in float32: parts of the names of their parameters."""
    import torch

    if dtype == torch.float32:
        return set()
    kept: set[str] = set()
    for module in network.modules():
        names = getattr(module, "_keep_in_fp32_modules", None) or ()
        strict = getattr(module, "_keep_in_fp32_modules_strict", None) or ()
        # Transformers keeps the former in float32 in place of float16 alone; diffusers, whose
        # models have no strict names, always.
        if dtype == torch.float16 or not hasattr(module, "_keep_in_fp32_modules_strict"):
            kept.update([names] if isinstance(names, str) else names)
        kept.update(strict)
    return kept


@contextmanager
def visiting(networks: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Networks are on `device` inside the block, and where they were after it.

    Their own tensors stay at home and are put back: nothing is copied on the way home.
    """
    import torch

    places: list[tuple[dict[str, Any], str, torch.Tensor]] = [
        (store, name, tensor)
        for network in networks
        for module in network.modules()
        for store in (module._parameters, module._buffers)
        for name, tensor in store.items()
        if tensor is not None and tensor.device != device
    ]
    away: dict[int, torch.Tensor] = {}
    try:
        for store, name, tensor in places:
            if id(tensor) not in away:  # one that is shared stays shared
                there = tensor.detach().to(device)
                is_parameter = isinstance(tensor, torch.nn.Parameter)
                away[id(tensor)] = torch.nn.Parameter(there, False) if is_parameter else there
            store[name] = away[id(tensor)]
        yield
    finally:
        for store, name, tensor in places:
            store[name] = tensor
        away.clear()
        if places and device.type == "cuda":
            # What text encoders leave free should not stay in pieces of their sizes.
            torch.cuda.empty_cache()
