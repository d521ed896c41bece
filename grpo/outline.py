"""Networks without weights: they compute shapes, and what they would hold of memory is counted.

Networks are made on the device "meta" and then filled with tensors that have a shape, a dtype and a
device, and no numbers (torch's FakeTensorMode).
"""

from __future__ import annotations

import importlib
import inspect
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rewardkit.engine.loader import Loader
from rewardkit.errors import WeightsError
from rewardkit.records.documents import read_json
from rewardkit.weights.hub import local_copy
from rewardkit.weights.pins import PinnedFile, Snapshot

META = torch.device("meta")
_aten = torch.ops.aten
_M = TypeVar("_M", bound=nn.Module)


@final
class Tracker(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside it and are still alive.

    Where code asks tensors without numbers for one, masks are full, nothing is wrong (`any` is
    False and `all` is True), and other numbers are 1.

    Attributes:
        now: bytes that are alive.
        highest: the most that were alive at once, since it was last set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.highest = 0
        self._alive: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Calls `func`, and counts what it returns."""
        result = self._answer(func, args)
        if result is None:
            result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor)
        number = {
            _aten.sum: lambda: args[0].numel() // max(1, result.numel()),
            _aten.any: lambda: 0,
        }.get(func.overloadpacket)
        if number is not None and isinstance(result, FakeTensor):
            self._numbers[result.untyped_storage()._cdata] = number()
        return result

    def _answer(self, func: Any, args: tuple[Any, ...]) -> Any:
        """What is not left to FakeTensorMode, which refuses results that depend on numbers."""
        if not args or not isinstance(args[0], FakeTensor):
            return None
        tensor = args[0]
        if func is _aten._local_scalar_dense.default and tensor.constant is None:
            number = self._numbers.get(tensor.untyped_storage()._cdata, 1)
            kinds = {torch.bool: bool, **dict.fromkeys((torch.float32, torch.float64), float)}
            return kinds.get(tensor.dtype, int)(number)
        if func is _aten.equal.default:
            return True
        if func in (_aten._pin_memory.default, _aten.is_pinned.default):
            return tensor if func is _aten._pin_memory.default else False
        if func is _aten.nonzero.default:
            return tensor.new_zeros(tensor.numel(), tensor.ndim, dtype=torch.long)
        if func is _aten.index.Tensor and len(args[1]) == 1 and args[1][0].dtype == torch.bool:
            return tensor.flatten(0, args[1][0].ndim - 1)
        return None

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive or tensor.device == META:
            return
        size = storage.nbytes()
        self.now += size
        self.highest = max(self.highest, self.now)

        def gone(_: object) -> None:
            del self._alive[key]
            self._numbers.pop(key, None)
            self.now -= size

        self._alive[key] = weakref.ref(storage, gone)

    def peak(self, work: Callable[[], object]) -> int:
        """Bytes that `work` takes at most, on top of those that are alive before it."""
        before = self.highest = self.now
        work()
        return self.highest - before


@contextmanager
def without_numbers() -> Iterator[Tracker]:
    """Tensors that are made inside the block have no numbers, and are counted."""
    with FakeTensorMode(allow_non_fake_inputs=True), Tracker() as tracker:
        yield tracker


def fill(network: nn.Module, device: torch.device) -> None:
    """Gives a network on "meta" tensors on `device`, inside `without_numbers`."""
    made: dict[int, tuple[Tensor, Tensor]] = {}
    for module in network.modules():
        stores: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for store, name, tensor in [(s, n, t) for s in stores for n, t in s.items()]:
            if tensor is None:
                continue
            if id(tensor) not in made:  # one that is shared stays shared
                new = torch.empty_strided(
                    tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device
                )
                if isinstance(tensor, nn.Parameter):
                    new = nn.Parameter(new, tensor.requires_grad)
                made[id(tensor)] = new, tensor
            store[name] = made[id(tensor)][0]


def pipeline_in(folder: Path) -> Any:
    """The pipeline of a folder in diffusers' layout, its networks on "meta".

    Raises:
        Exception: of any kind, where a file is missing, or is not what its class reads.
    """
    import diffusers

    index = read_json(folder / "model_index.json")
    kind = getattr(diffusers, index["_class_name"])
    parts = {
        name: _part(value[0], value[1], folder / name)
        for name, value in index.items()
        if _is_part(name, value)
    }
    known = inspect.signature(kind.__init__).parameters
    settings = {n: v for n, v in index.items() if n in known and not isinstance(v, list)}
    missing = {n: None for n, p in known.items() if n != "self" and p.default is p.empty}
    return kind(**(missing | settings | parts))


def again(pipe: Any) -> Any:
    """A pipeline in memory again, its networks on "meta"."""
    with torch.device(META):
        parts = {
            name: _network(type(part), part.config) if isinstance(part, nn.Module) else part
            for name, part in pipe.components.items()
        }
    return type(pipe)(**parts)


def _is_part(name: str, value: Any) -> bool:
    if not isinstance(value, list) or value[0] is None:
        return False
    # Safety checkers and what they read are not used in training.
    return name not in ("safety_checker", "feature_extractor")


def _part(library: str, name: str, folder: Path) -> Any:
    kind: Any = getattr(importlib.import_module(library), name)
    if not issubclass(kind, nn.Module):
        return kind.from_pretrained(folder)
    config = (
        kind.config_class.from_pretrained(folder)
        if library == "transformers"
        else kind.load_config(folder)
    )
    with torch.device(META):
        return _network(kind, config)


def _network(kind: Any, config: Any) -> nn.Module:
    """A network of diffusers or transformers from its configuration."""
    made: nn.Module = kind.from_config(config) if hasattr(kind, "load_config") else kind(config)
    return made.eval()


@final
class OutlineLoader(Loader):
    """A loader whose networks are on "meta"; what else a reward reads has to be on this machine."""

    def __init__(self, dtype: str, weights: Mapping[str, Path]) -> None:
        super().__init__("cpu", dtype, weights)
        self.device = META

    def _find(self, weights: PinnedFile | Snapshot) -> Path:
        here = weights.name.casefold() in self.overrides or weights.host in ("package", "folder")
        if not here and local_copy(weights) is None:
            raise WeightsError(f"{weights.label} is not on this machine")
        return super()._find(weights)

    def module(self, build: Callable[[], _M], weights: Any, convert: Any = None) -> _M:
        """The network that `build` makes; no file is read."""
        with torch.device(META):
            return self.keep(build().eval().requires_grad_(False))

    def fill(self, device: torch.device, readers: Iterable[object]) -> None:
        """Fills the networks, and tells those who read them where they are."""
        for network in self.networks:
            fill(network, device)
        for reader in readers:
            for name, value in vars(reader).items():
                if value == META:
                    setattr(reader, name, device)
