"""State dicts: read from a file without running anything in it, loaded with nothing left over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from rewardkit.errors import WeightsError

if TYPE_CHECKING:
    import torch

_TENSORS = (".safetensors", ".bin", ".pt", ".pth")
# With these words torch advises to load a file in the way that runs the code in it, and diffusers
# to fill with noise what does not fit.
_ADVICE = re.compile(
    r"\.? *(\(1\) )?(In PyTorch 2\.6, we changed|Re-running `torch\.load`|Please file an issue|"
    r"Check the documentation of torch\.load|If you want to instead|you can do so)"
    r"|weights_only|arbitrary code",
    re.IGNORECASE,
)


def cause(error: BaseException) -> str:
    """What a library says of weights that it cannot load, in one line and without unsafe advice."""
    text = " ".join(str(error).split())
    if advice := _ADVICE.search(text):
        text = text[: advice.start()].rpartition(". ")[0] or text[: advice.start()]
    return f"{type(error).__name__}: {text}"[:300].rstrip(".: ") if text else type(error).__name__


def check_finite(what: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuses tensors that hold a NaN or an infinity.

    Raises:
        WeightsError: `what` begins it.
    """
    import torch

    damaged = [
        name
        for name, tensor in tensors.items()
        # The sum makes no copy of billions of numbers; only where it overflows are all looked at.
        if tensor.is_floating_point()
        and not tensor.is_meta
        and not tensor.sum(dtype=torch.float32).isfinite()
        and not tensor.isfinite().all()
    ]
    if damaged:
        raise WeightsError(
            f"{what} holds NaN or infinity in {len(damaged)} of {len(tensors)} tensors, such as "
            f"{damaged[0]}. It is damaged: save or download it again"
        )


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint file, read without running any code in it.

    Accepts safetensors, and torch files holding a state dict, bare or as the `state_dict` entry of
    a training checkpoint; a `module.` prefix left by data-parallel training is removed.

    Raises:
        WeightsError: the file is truncated, is neither format, or holds more than plain tensors.
    """
    import zipfile

    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            # mmap leaves the file on disk until a tensor is used; old (non-zip) files cannot.
            mapped = zipfile.is_zipfile(path)
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # what a reader raises on arbitrary bytes is as arbitrary
        raise WeightsError(
            f"{path} cannot be read as weights (it is truncated, of another format, or holds more "
            f"than plain tensors, which is refused because loading it could run code): "
            f"{cause(error)}"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state dict: expected a mapping from names to tensors")
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def read_files(folder: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """The tensors of all checkpoint files among the files of a folder, such as shards.

    Raises:
        WeightsError: a file cannot be read, none holds tensors, or two hold a tensor of one name.
    """
    state: dict[str, torch.Tensor] = {}
    for name in names:
        if PurePosixPath(name).suffix in _TENSORS:
            for key, tensor in read_state_dict(folder / name).items():
                if key in state:
                    raise WeightsError(
                        f"{folder} holds the tensor {key} twice, the second time in {name}. Keep "
                        "one set of weights there"
                    )
                state[key] = tensor
    if not state:
        raise WeightsError(f"{folder} holds no weights: a file {', '.join(_TENSORS)} is expected")
    return state


def load_strict(module: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load `state` into `module`, every key and shape matching, every number finite.

    Raises:
        WeightsError: listing the missing, unexpected and misshapen keys, or those that hold NaN.
    """
    check_fit(module, state)
    check_finite("it", state)
    module.load_state_dict(state, strict=True)


def check_fit(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Refuses tensors that are not those of `module`, which may be one without memory (`meta`).

    Raises:
        WeightsError: listing the missing, unexpected and misshapen keys.
    """
    wanted = module.state_dict()
    problems = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} {list(state[key].shape)} instead of {list(wanted[key].shape)}"
            for key in wanted
            if key in state and state[key].shape != wanted[key].shape
        ],
    }
    if any(problems.values()):
        text = "; ".join(
            f"{len(keys)} {what} ({', '.join(keys[:5])}{', …' if len(keys) > 5 else ''})"
            for what, keys in problems.items()
            if keys
        )
        raise WeightsError(f"it does not fit {type(module).__name__}: {text}")
