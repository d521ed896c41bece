"""Networks in a dtype and on a device: cast as their authors load them, moved for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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

    Their tensors at home are kept and put back: nothing is copied on the way home.
    """
    import torch

    tensors = {
        id(tensor): tensor
        for network in networks
        for tensor in (*network.parameters(), *network.buffers())
    }
    home = [(tensor, tensor.data) for tensor in tensors.values()]
    moved = any(data.device != device for _, data in home)
    try:
        for tensor, data in home:
            tensor.data = data.to(device)
        yield
    finally:
        for tensor, data in home:
            tensor.data = data
        if moved and device.type == "cuda":
            # What a text encoder leaves free should not stay in pieces of its own sizes.
            torch.cuda.empty_cache()
