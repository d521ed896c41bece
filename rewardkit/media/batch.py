"""What is scored: a picture as a uint8 tensor, a `Clip`, and a `Batch` of either with its prompts.

`to_medium` is the one boundary where anything a user may hold (path, PIL picture, array, float
tensor) becomes such a medium, rounded exactly as saving a PNG would round it, so that training and
`rewardkit score` see the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rewardkit.errors import InputError, ScoringError, UsageError

if TYPE_CHECKING:
    import torch

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
            told = ", ".join(f"{n} {what}" for what, n in sizes.items())
            raise UsageError(f"a Batch holds one of each per sample, but has {told}")

    def __len__(self) -> int:
        return len(self.prompts)

    @classmethod
    def of(
        cls,
        media: Sequence[Any],
        prompts: str | Sequence[str | None] | None = None,
        meta: Sequence[Mapping[str, Any]] | None = None,
    ) -> Batch:
        """A batch of anything `to_medium` accepts; one prompt string serves every sample.

        Raises:
            ScoringError: naming the first medium that cannot be opened, and why.
        """
        if isinstance(prompts, str) or prompts is None:
            prompts = [prompts] * len(media)
        opened = []
        for index, medium in enumerate(media):
            try:
                opened.append(to_medium(medium))
            except InputError as error:
                raise ScoringError(index, error) from error
        return cls(
            opened,
            list(prompts),
            list(meta) if meta is not None else [{}] * len(media),
        )


def kind_of(medium: Medium) -> Kind:
    """Whether a medium is an "image" or a "video"."""
    return "video" if isinstance(medium, Clip) else "image"


def to_medium(source: Any) -> Medium:
    """A medium from whatever a user holds.

    Accepts a `Clip`; a path or PIL picture (see `rewardkit.media.images`); a tensor or array
    `[3, H, W]`, uint8 in 0..255 or floating point in 0..1. Floats are rounded as a PNG writer
    rounds them: `round(255 x)`, half to even.

    Raises:
        InputError: a picture that cannot be read, a wrong shape, dtype or range.
    """
    import numpy as np
    import torch
    from PIL import Image

    from rewardkit.media.images import read_image

    if isinstance(source, Clip):
        return source
    if isinstance(source, str | Path | Image.Image):
        return read_image(source)
    if isinstance(source, np.ndarray):
        source = torch.from_numpy(source)
    if not isinstance(source, torch.Tensor):
        raise InputError(
            f"a {type(source).__name__} is not a picture or clip. Accepted: a path, a PIL picture, "
            "a Clip, or a [3, H, W] tensor of uint8 or of floats in 0..1"
        )
    if source.is_floating_point():
        source = _to_uint8(source.detach())
    _check_uint8(source, ndim=3, what="a picture", shape="[3, H, W]")
    return source


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
