"""A device that is none: tensors on it hold their numbers on the CPU, and mix with no others.

Rehearses what a CPU cannot: an operation on tensors of two devices fails as on a GPU. Autocast
casts what it casts under CUDA. The device is registered with torch once per process, for good, so
a process that uses it should do nothing else.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "gpu"
#: Operations that take tensors of several devices.
CROSSING = {"_to_copy", "copy_"}
#: They take indices that are on the CPU.
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
#: What CUDA's autocast computes in low precision, in float32, and in the widest of its inputs.
LOW = (
    "linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv1d", "conv2d", "conv3d",
    "conv_transpose2d.input", "scaled_dot_product_attention",
)  # fmt: skip
EXACT = (
    "layer_norm", "group_norm", "softmax.int", "log_softmax.int", "exp", "log", "pow.Tensor_Scalar",
    "rsqrt", "sum", "sum.dim_IntList", "cumsum", "norm.ScalarOpt_dim", "softplus",
)  # fmt: skip
WIDEST = ("cat", "stack", "addcmul", "addcdiv", "dot")


class _Backend:
    """What torch asks of the module of a device."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        pass

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


class OnDevice(Tensor):
    """A tensor that says it is on the device; `raw` has its numbers."""

    raw: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw: Tensor) -> OnDevice:
        made = Tensor._make_wrapper_subclass(
            cls, raw.size(), strides=raw.stride(), storage_offset=raw.storage_offset(),
            dtype=raw.dtype, device=torch.device(NAME, 0),
        )  # fmt: skip
        made.raw = raw
        return made

    @property
    def data(self) -> Tensor:
        return self.detach()

    @data.setter
    def data(self, value: OnDevice) -> None:
        Tensor.data.__set__(self, value)
        self.raw = value.raw

    def tolist(self) -> Any:
        return self.raw.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert {NAME}:0 device type tensor to numpy")
        return self.raw.numpy(force=True)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class Simulation(TorchDispatchMode):
    """Inside it, `torch.device("gpu")` is such a device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def register() -> torch.device:
    """Registers the device with torch; needs torch 2.9 or newer."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    library = torch.library.Library("aten", "IMPL", "AutocastPrivateUse1")
    anything_else = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    anything_else.fallback(torch.library.fallthrough_kernel)
    for names, cast in ((LOW, _low), (EXACT, _exact), (WIDEST, _widest)):
        for name in names:
            library.impl(name, _autocast(name, cast))
    for name in ("tensor", "as_tensor"):
        setattr(torch, name, _made_on_the_cpu(getattr(torch, name)))
    _autocast.libraries = (library, anything_else)  # type: ignore[attr-defined]
    return torch.device(NAME, 0)


def _made_on_the_cpu(make: Any) -> Any:
    """`torch.tensor` and the like, which torch sends to a device unseen by dispatch modes."""

    def made(data: Any, *, device: Any = None, **options: Any) -> Any:
        place = torch.get_default_device() if device is None else torch.device(device)
        if isinstance(data, Tensor) and device is None:
            return make(data, **options)
        with torch.device("cpu"):
            return make(data, **options).to(place)

    return made


def _autocast(name: str, cast: Any) -> Any:
    packet, _, overload = name.partition(".")
    func = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def run(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(NAME, enabled=False):
            args, kwargs = cast(args, kwargs)
            return func(*args, **kwargs)

    return run


def _to(dtype: torch.dtype, values: Any) -> Any:
    def moved(value: Any) -> Any:
        real = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(dtype) if real and value.dtype != torch.float64 else value

    return tree_map(moved, values)


def _low(*values: Any) -> Any:
    return _to(torch.get_autocast_dtype(NAME), values)


def _exact(*values: Any) -> Any:
    return _to(torch.float32, values)


def _widest(*values: Any) -> Any:
    dtypes = {t.dtype for t in tree_leaves(values) if isinstance(t, Tensor)}
    return _to(torch.float32, values) if torch.float32 in dtypes else values


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.overloadpacket.__name__
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
    here = [t for t in tensors if not isinstance(t, OnDevice) and (t.ndim or name in INDEXING)]
    if there and here and name not in CROSSING | INDEXING:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cpu "
            f"and {NAME}:0, in {func}"
        )
    device = kwargs.get("device")
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    raw_args, raw_kwargs = tree_map(
        lambda value: value.raw if isinstance(value, OnDevice) else value, (args, kwargs)
    )
    result = func(*raw_args, **raw_kwargs)
    if name == "copy_":
        return args[0]
    on_device = torch.device(device).type == NAME if device is not None else bool(there)
    known = {id(tensor.raw): tensor for tensor in there}

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) in known:
            return known[id(value)]
        return OnDevice(value) if on_device else value

    return tree_map(wrapped, result)
