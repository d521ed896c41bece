"""The devices and number formats networks can run in, by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rewardkit.errors import UsageError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")


def pick_dtype(name: str) -> torch.dtype:
    """The torch dtype of a name.

    Raises:
        UsageError: with the accepted names.
    """
    import torch

    if name not in DTYPES:
        raise UsageError(f"dtype is one of {', '.join(DTYPES)}; {name!r} was given")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def pick_device(name: str) -> torch.device:
    """The torch device of a name; "auto" takes the best there is.

    Raises:
        UsageError: this machine has no such device.
    """
    import torch

    check_device_name(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).tolist()  # "meta" has sizes and no values
    except (RuntimeError, AssertionError) as error:
        raise _unusable(name, error) from error
    return device


def check_device_name(name: str) -> None:
    """Refuses what is not the name of a device, of this machine or of another.

    Raises:
        UsageError: with the accepted names.
    """
    if re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        return  # without loading torch
    import torch

    try:
        torch.device(name)
    except RuntimeError as error:
        raise _unusable(name, error) from error


def same_device(device: torch.device, other: torch.device) -> bool:
    """Whether two are one device; without a number it is the first of its kind."""
    return (device.type, device.index or 0) == (other.type, other.index or 0)


def _unusable(name: str, error: Exception) -> UsageError:
    # The first sentence: what follows is advice to those who build torch.
    reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
    return UsageError(
        f"device {name!r} cannot be used here: {reason}. Accepted: auto, cpu, cuda, cuda:1, mps"
    )


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on `device`; from the CPU to a CUDA device without making the host wait."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def arithmetic() -> dict[str, Any]:
    """How exactly float32 is computed in this process, for records.

    Both are torch's settings, which change nothing on a CPU: the precision of matrix products, and
    whether convolutions of cuDNN may round to TF32, as they do unless they are told not to.
    """
    import torch

    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
    }
