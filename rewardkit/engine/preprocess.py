"""What happens to a picture before a network sees it, as data: a tuple of steps, each exact.

Ports of one scorer differ here more than anywhere else (a resize on PIL pictures or on tensors,
antialiased or not, cropped or padded), so nothing is left to a default: a card shows its steps,
a result records them, and a test compares them with upstream's pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from rewardkit.errors import InputError

if TYPE_CHECKING:
    import torch
    from PIL import Image

# A thin picture whose short side is enlarged can outgrow the memory: 1x20000 becomes 224x4480000.
MAX_RESIZED_PIXELS = 89_478_485


@dataclass(frozen=True)
class Resize:
    """Resize to `size`: the shortest side, the longest side, or both ("squash").

    `backend` "pil" resizes the 8-bit picture (PIL always antialiases); "tensor" resizes floats as
    torchvision does, antialiased or not.
    """

    size: int
    side: Literal["shortest", "longest", "squash"]
    interpolation: Literal["bicubic", "bilinear"]
    backend: Literal["pil", "tensor"]
    antialias: bool = True

    def __str__(self) -> str:
        antialias = "" if self.antialias else ", no antialias"
        return f"resize({self.side} {self.size}, {self.interpolation}, {self.backend}{antialias})"


@dataclass(frozen=True)
class FitArea:
    """Resize so that both sides are multiples of `multiple` and the area lies in `low` .. `high`.

    The aspect ratio is kept as far as that allows: Qwen2-VL's `smart_resize`. `backend` "pil"
    resizes a picture with PIL; "tensor" 8-bit frames as torchvision does, rounded to 8 bits again.
    """

    multiple: int
    low: int
    high: int
    backend: Literal["pil", "tensor"]

    def __str__(self) -> str:
        return (
            f"fit_area({self.low}..{self.high} pixels, multiples of {self.multiple}, bicubic, "
            f"{self.backend})"
        )


@dataclass(frozen=True)
class Greyscale:
    """The luma of 8-bit pixels (ITU-R 601: 0.299 R + 0.587 G + 0.114 B), rounded down, as RGB."""

    def __str__(self) -> str:
        return "greyscale(ITU-R 601, rounded down)"


@dataclass(frozen=True)
class CenterCrop:
    """Cut the central `size` x `size`.

    Half of an odd margin is rounded half to even (torchvision) or down (transformers): where the
    margin is 4k + 3, the two cuts are one pixel apart.
    """

    size: int
    half_margin: Literal["even", "down"] = "even"

    def __str__(self) -> str:
        rounding = "" if self.half_margin == "even" else ", half margin rounded down"
        return f"center_crop({self.size}{rounding})"


@dataclass(frozen=True)
class Pad:
    """Pad a picture of at most `size` x `size` to that size with zeros, the picture centred."""

    size: int

    def __str__(self) -> str:
        return f"pad({self.size}, with 0)"


@dataclass(frozen=True)
class ToFloat:
    """8-bit levels to floats in 0..1 (divide by 255)."""

    def __str__(self) -> str:
        return "to_float"


@dataclass(frozen=True)
class Normalize:
    """Per channel `(x - mean) / std`."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __str__(self) -> str:
        return f"normalize(mean {self.mean}, std {self.std})"


Step: TypeAlias = Resize | FitArea | Greyscale | CenterCrop | Pad | ToFloat | Normalize
Steps: TypeAlias = tuple[Step, ...]

CLIP_NORMALIZE = Normalize(
    mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
)


def describe_steps(steps: Steps) -> list[str]:
    """The steps as text, for cards and for the provenance of a result."""
    return [str(step) for step in steps]


def resized_shape(height: int, width: int, step: Resize) -> tuple[int, int]:
    """Height and width after `step`.

    The long side of a "shortest" resize is truncated (torchvision `Resize`), both sides of a
    "longest" one are rounded half to even (open_clip `ResizeMaxSize`).
    """
    if step.side == "squash":
        return step.size, step.size
    if step.side == "longest":
        scale = step.size / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))
    if height <= width:
        return step.size, int(step.size * width / height)
    return int(step.size * height / width), step.size


def fitted_shape(height: int, width: int, step: FitArea) -> tuple[int, int]:
    """Height and width after `step`.

    Raises:
        InputError: one side is more than 200 times the other.
    """
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    try:
        return smart_resize(height, width, step.multiple, step.low, step.high)
    except ValueError as error:
        raise InputError(
            f"a picture of {width}x{height} is too thin: one side may be at most 200 times the "
            "other. Crop it first"
        ) from error


def split(steps: Steps) -> tuple[Steps, Steps]:
    """The steps to run picture by picture, and the pointwise ones after them.

    Pointwise steps give the same numbers on a whole batch, where they run on the device, and
    bytes are a quarter of what would have to be moved there as floats.
    """
    cut = len(steps)
    while cut and isinstance(steps[cut - 1], ToFloat | Normalize):
        cut -= 1
    return steps[:cut], steps[cut:]


def apply(steps: Steps, pixels: torch.Tensor) -> torch.Tensor:
    """Run `steps` on pixels `[..., 3, H, W]`; media of several sizes only where they are pointwise.

    Raises:
        InputError: the picture is so thin that the resized one would not fit in memory.
    """
    x: torch.Tensor | Image.Image = pixels
    for step in steps:
        x = _apply_one(step, x)
    return _as_tensor(x)


def _apply_one(step: Step, x: torch.Tensor | Image.Image) -> torch.Tensor | Image.Image:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    match step:
        case Resize():
            x = _as_pil(x) if step.backend == "pil" else _as_tensor(x)
            width, height = F.get_image_size(x)
            shape = resized_shape(height, width, step)
            if shape[0] * shape[1] > MAX_RESIZED_PIXELS:
                raise InputError(
                    f"a picture of {width}x{height} would be resized to {shape[1]}x{shape[0]}, "
                    f"over the limit of {MAX_RESIZED_PIXELS:,} pixels: crop it first"
                )
            mode = InterpolationMode(step.interpolation)
            return F.resize(x, list(shape), mode, antialias=step.antialias)
        case FitArea():
            x = _as_pil(x) if step.backend == "pil" else _as_tensor(x)
            width, height = F.get_image_size(x)
            shape = fitted_shape(height, width, step)
            return F.resize(x, list(shape), InterpolationMode.BICUBIC, antialias=True)
        case Greyscale():
            red, green, blue = _as_tensor(x).double().unbind(-3)
            luma = (0.299 * red + 0.587 * green + 0.114 * blue).byte()
            return luma.unsqueeze(-3).expand_as(_as_tensor(x))
        case CenterCrop(half_margin="even"):
            return F.center_crop(x, [step.size, step.size])
        case CenterCrop():
            width, height = F.get_image_size(x)
            top, left = (height - step.size) // 2, (width - step.size) // 2
            return F.crop(x, top, left, step.size, step.size)
        case Pad():
            width, height = F.get_image_size(x)
            left, top = (step.size - width) // 2, (step.size - height) // 2
            right, bottom = step.size - width - left, step.size - height - top
            return F.pad(x, [left, top, right, bottom])
        case ToFloat():
            return _as_tensor(x).float() / 255
        case Normalize():
            return F.normalize(_as_tensor(x), list(step.mean), list(step.std))


def _as_pil(x: torch.Tensor | Image.Image) -> Image.Image:
    import torch
    from PIL import Image

    # Pictures are read as a permuted view of PIL's own layout, so this copies nothing.
    return Image.fromarray(x.permute(1, 2, 0).numpy()) if isinstance(x, torch.Tensor) else x


def _as_tensor(x: torch.Tensor | Image.Image) -> torch.Tensor:
    import numpy as np
    import torch

    if isinstance(x, torch.Tensor):
        return x
    return torch.from_numpy(np.array(x)).permute(2, 0, 1)
