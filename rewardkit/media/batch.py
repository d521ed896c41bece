"""What is scored: a picture as a uint8 tensor, a `Clip`, and a `Batch` of either with its prompts.

`to_medium` is the one boundary where anything a user may hold (path, PIL picture, array, float
tensor) becomes such a medium, rounded exactly as saving a PNG would round it, so that training and
`rewardkit score` see the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rewardkit.errors import InputError, ScoringError, UsageError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Kind = Literal["image", "video"]


@dataclass(frozen=True)
class Clip:
    """Frames of one video: uint8 `[F, 3, H, W]`, `fps` frames per second."""

    frames: torch.Tensor
    fps: float

    def __post_init__(self) -> None:
        _check_uint8(self.frames, ndim=4, what="Clip.frames", shape="[F, 3, H, W]")
        if len(self.frames) == 0:
            raise InputError("a Clip needs at least one frame; 0 were given")
        if not 0 < self.fps < float("inf"):
            raise InputError(f"a Clip's fps is a positive number; {self.fps!r} was given")


Medium: TypeAlias = "torch.Tensor | Clip"
_ACCEPTED = (
    "a path, a PIL picture, a Clip, a [3, H, W] tensor or array or an [H, W, 3] array, of uint8 or "
    "of floats in 0..1"
)


@dataclass(frozen=True)
class Sample:
    """One thing to score.

    Attributes:
        read: gives the medium; called in a loader thread, once, when its batch is near.
        prompt: what the medium should show; None where there is no prompt.
        meta: the other keys of its manifest or prompt line.
        group: samples with the same number are compared by a `GroupReward`; None is no group.
    """

    read: Callable[[], Medium]
    prompt: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    group: int | None = None


@dataclass(frozen=True)
class Batch:
    """B media with, where there are any, their prompts and other keys of their manifest lines.

    Attributes:
        media: uint8 pictures `[3, H, W]`, each of its own size, or `Clip`s. None once a scorer has
            taken from them what its rewards need: decoded media are large and are let go early.
        prompts: one per medium; None where a medium has none.
        meta: one mapping per medium.
    """

    media: Sequence[Medium] | None
    prompts: Sequence[str | None]
    meta: Sequence[Mapping[str, Any]]

    def __post_init__(self) -> None:
        sizes = {"prompts": len(self.prompts), "meta": len(self.meta)}
        if self.media is not None:
            sizes["media"] = len(self.media)
        if len(set(sizes.values())) != 1:
            counts = ", ".join(f"{n} {what}" for what, n in sizes.items())
            raise UsageError(f"a Batch holds one of each per sample, but has {counts}")

    def __len__(self) -> int:
        return len(self.prompts)

    @classmethod
    def of(
        cls,
        media: Any,
        prompts: str | Sequence[str | None] | None = None,
        meta: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> Batch:
        """A batch of anything `to_medium` accepts; one prompt string serves every sample.

        A single medium, such as one path, is a batch of one.

        Raises:
            UsageError: the media, the prompts or the meta are not what is accepted.
            ScoringError: naming the first medium that cannot be opened, and why.
        """
        listed = _as_list(media)
        opened = []
        for index, medium in enumerate(listed):
            try:
                opened.append(to_medium(medium))
            except InputError as error:
                raise ScoringError(index, error) from error
        return cls(opened, _prompts(prompts, len(listed)), _meta(meta, len(listed)))


def _as_list(media: Any) -> list[Any]:
    """The media one by one; a text is a path, and never taken letter by letter."""
    import numpy as np
    import torch
    from PIL import Image

    if isinstance(media, str | PathLike | Image.Image | Clip):
        return [media]
    if isinstance(media, torch.Tensor | np.ndarray):
        return list(media) if media.ndim == 4 else [media]
    # A mapping or a set has a length too, and no order to score in.
    if isinstance(media, Sequence | Iterator) and not isinstance(media, bytes | bytearray):
        return list(media)
    raise UsageError(
        f"a {type(media).__name__} is given as the media to score. Accepted: a list of media, or "
        f"one medium. A medium is {_ACCEPTED}"
    )


def _prompts(given: Any, size: int) -> list[str | None]:
    if given is None or isinstance(given, str):
        return [given] * size
    if isinstance(given, Mapping | bytes) or not hasattr(given, "__iter__"):
        raise UsageError(
            f"a {type(given).__name__} is given as prompts. Accepted: one text for all media, or a "
            "list with a text or None for each"
        )
    prompts = list(given)
    for index, prompt in enumerate(prompts):
        if prompt is not None and not isinstance(prompt, str):
            raise UsageError(
                f"prompt {index} is {prompt!r}, a {type(prompt).__name__}. A prompt is a text, or "
                "None where there is none"
            )
    return prompts


def _meta(given: Any, size: int) -> list[Mapping[str, Any]]:
    if given is None:
        return [{}] * size
    lines = [given] if isinstance(given, Mapping) and size == 1 else given
    if not isinstance(lines, Sequence) or not all(isinstance(line, Mapping) for line in lines):
        raise UsageError(
            f"a {type(given).__name__} is given as meta. Accepted: a list with one mapping of keys "
            "for each medium"
        )
    return list(lines)


def kind_of(medium: Medium) -> Kind:
    """Whether a medium is an "image" or a "video"."""
    return "video" if isinstance(medium, Clip) else "image"


def to_medium(source: Any) -> Medium:
    """A medium from whatever a user holds.

    Accepts a `Clip`; a path or PIL picture (see `rewardkit.media.images`); a tensor or array
    `[3, H, W]`, or an array `[H, W, 3]` as numpy holds pictures; uint8 in 0..255 or floating point
    in 0..1. An array that is both, `[3, H, 3]`, is read as `[3, H, W]`. Floats are rounded as a PNG
    writer rounds them: `round(255 x)`, half to even. From a GPU, it comes to the CPU, where media
    are prepared.

    Raises:
        InputError: a picture that cannot be read, a wrong shape, dtype or range.
    """
    import numpy as np
    import torch
    from PIL import Image

    from rewardkit.media.images import read_image

    if isinstance(source, Clip):
        here = source.frames.device.type == "cpu"
        return source if here else replace(source, frames=source.frames.cpu())
    if isinstance(source, str | PathLike):
        refuse_address(source)
        return read_image(Path(source))
    if isinstance(source, Image.Image):
        return read_image(source)
    if isinstance(source, np.ndarray):
        source = _from_array(source)
    if not isinstance(source, torch.Tensor):
        raise InputError(
            f"a {type(source).__name__} is not a picture or clip. Accepted: {_ACCEPTED}"
        )
    if source.is_floating_point():
        source = _to_uint8(source.detach())
    _check_uint8(source, ndim=3, what="a picture", shape="[3, H, W]")
    return source.cpu()


def refuse_address(path: object) -> None:
    """Refuse a URL, which as a path would only be said not to exist.

    Raises:
        InputError: `path` is one.
    """
    if str(path).lower().startswith(("http:", "https:")):
        raise InputError(
            f"{str(path)!r} is a URL, and only files are read. Download it, and give the path of "
            "the file"
        )


def _from_array(array: NDArray[Any]) -> torch.Tensor:
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


def _to_uint8(x: torch.Tensor) -> torch.Tensor:
    # Half an 8-bit level of slack: a decoder's 1.0000001 is white, a -0.3 is another range.
    slack = 0.5 / 255
    low, high = (float(v) for v in x.aminmax()) if x.numel() else (0.0, 0.0)
    if not (low >= -slack and high <= 1 + slack):  # written so that NaN fails too
        raise InputError(
            f"a float picture holds values in 0..1; this one spans {low:.4g}..{high:.4g}. "
            "Rescale it, or give uint8 in 0..255"
        )
    return (x.float() * 255).round().clamp(0, 255).byte()


def _check_uint8(x: torch.Tensor, *, ndim: int, what: str, shape: str) -> None:
    import torch

    if x.dtype != torch.uint8 or x.ndim != ndim or x.shape[-3] != 3 or 0 in x.shape[-2:]:
        raise InputError(
            f"{what} is a uint8 tensor {shape} with H, W > 0; "
            f"given: {x.dtype} {list(x.shape)}".replace("torch.", "")
        )
