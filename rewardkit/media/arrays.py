"""Arrays and tensors that hold pictures, as uint8 pixels; rounded as saving a PNG rounds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardkit.errors import InputError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


def from_array(array: NDArray[Any]) -> torch.Tensor:
    """The tensor `[3, H, W]` of an array of that shape, or of one `[H, W, 3]`.

    Raises:
        InputError: torch has no such dtype.
    """
    import numpy as np
    import torch

    try:
        # torch takes neither read-only memory nor negative strides.
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"an array of {array.dtype} is not a picture. Accepted: uint8, or floats in 0..1"
        ) from error
    last = array.ndim == 3 and array.shape[-1] == 3 and array.shape[0] != 3
    return tensor.permute(2, 0, 1) if last else tensor


def to_uint8(x: torch.Tensor) -> torch.Tensor:
    """Floats in 0..1 as 8-bit levels, `round(255 x)`, half to even.

    Raises:
        InputError: a value lies outside 0..1, or is NaN.
    """
    # Half an 8-bit level of slack: a decoder's 1.0000001 is white, a -0.3 is another range.
    slack = 0.5 / 255
    low, high = (float(v) for v in x.aminmax()) if x.numel() else (0.0, 0.0)
    if not (low >= -slack and high <= 1 + slack):  # written so that NaN fails too
        raise InputError(
            f"a float picture holds values in 0..1; this one spans {low:.4g}..{high:.4g}. "
            "Rescale it, or give uint8 in 0..255"
        )
    return (x.float() * 255).round().clamp(0, 255).byte()


def check_uint8(x: torch.Tensor, *, ndim: int, what: str, shape: str) -> None:
    """Refuse what is no uint8 tensor `[..., 3, H, W]` with `ndim` dimensions.

    Raises:
        InputError: `what` and `shape` say what is accepted.
    """
    import torch

    if x.dtype != torch.uint8 or x.ndim != ndim or x.shape[-3] != 3 or 0 in x.shape[-2:]:
        raise InputError(
            f"{what} is a uint8 tensor {shape} with H, W > 0; "
            f"given: {x.dtype} {list(x.shape)}".replace("torch.", "")
        )
