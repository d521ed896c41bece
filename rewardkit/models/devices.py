"""The devices and number formats networks can run in, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        raise UsageError(
            f"device {name!r} cannot be used here: {str(error).splitlines()[0]} "
            "Accepted: auto, cpu, cuda, cuda:1, mps"
        ) from error
    return device
