"""Preprocessing of pictures that are tensors, with a gradient to their pixels.

The steps, their constants and their order are those of `rewardkit.engine.preprocess`. Rounding has
no gradient, so it is passed straight through: forward a value is rounded, backward it counts as the
identity. Pixels are rounded to 8 bits as saving a PNG rounds them. PIL resizes in two passes,
horizontally and then vertically, and rounds and clamps to 8 bits after each; so does this. Its
sums are of floats where PIL's are of whole numbers, which moves few pixels, and by one level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.preprocess import (
    CenterCrop,
    Normalize,
    Pad,
    Resize,
    Steps,
    ToFloat,
    apply,
    resized_shape,
)
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    import torch


def network_input(steps: Steps, pixels: torch.Tensor) -> torch.Tensor:
    """The input of a network, float32 `[B, 3, h, w]`, with a gradient.

    Args:
        steps: those of `apply`; resizes, central crops, paddings and pointwise steps.
        pixels: `[B, 3, H, W]`, floats in 0..1.

    Raises:
        UsageError: a step has no gradient.
    """
    levels = pixels * 255
    x = _straight_through(levels, levels.detach().round())
    for step in steps:
        match step:
            case Resize(backend="pil"):
                x = _resized_as_pil(step, x)
            case Resize() | CenterCrop() | Pad() | ToFloat() | Normalize():
                x = apply((step,), x)
            case _:
                raise UsageError(f"the step {step} of the preprocessing has no gradient")
    return x


def _resized_as_pil(step: Resize, levels: torch.Tensor) -> torch.Tensor:
    """PIL's resize of 8-bit levels `[B, 3, H, W]`."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    height, width = resized_shape(levels.shape[-2], levels.shape[-1], step)
    for shape in ([levels.shape[-2], width], [height, width]):
        if shape != [*levels.shape[-2:]]:
            resized = F.resize(levels, shape, InterpolationMode(step.interpolation), antialias=True)
            clamped = resized.clamp(0, 255)
            levels = _straight_through(clamped, (clamped.detach() + 0.5).floor())
    return levels


def _straight_through(values: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """The rounded values; backward, they are the values."""
    return rounded + (values - values.detach())
