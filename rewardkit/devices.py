"""The devices and number formats networks can run in, by name."""

from __future__ import annotations

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

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).tolist()  # "meta" has sizes and no values
    except (RuntimeError, AssertionError) as error:
        # The first sentence: what follows is advice to those who build torch.
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise UsageError(
            f"device {name!r} cannot be used here: {reason}. Accepted: auto, cpu, cuda, cuda:1, mps"
        ) from error
    return device


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
