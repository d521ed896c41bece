"""What is scored: a `Sample` is a picture or clip with its prompt, a `Batch` holds several.

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
from rewardkit.media.arguments import one_mapping_each, one_text_each
from rewardkit.media.files import refuse_address

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
    """One thing to score, as rewards see it.

    Attributes:
        medium: the picture or clip. None once a scorer has let it go: decoded media are large, and
            after `Extractor.prepare` nothing needs them, nor the references.
        prompt: what the medium should show; None where there is no prompt.
        meta: the other keys of its manifest or prompt line.
        references: media it is compared with, by name, such as "first_frame" or "source".
    """

    medium: Medium | None
    prompt: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Medium] = field(default_factory=dict)

    @property
    def picture(self) -> torch.Tensor:
        """The medium where it is a picture, uint8 `[3, H, W]`.

        Raises:
            TypeError: it is a clip, which the scorer gives to no reward of pictures.
        """
        if self.medium is None or isinstance(self.medium, Clip):
            raise TypeError("this sample has no picture")
        return self.medium

    @property
    def clip(self) -> Clip:
        """The medium where it is a clip.

        Raises:
            TypeError: it is a picture, which the scorer gives to no reward of clips.
        """
        if not isinstance(self.medium, Clip):
            raise TypeError("this sample has no clip")
        return self.medium

    def without_media(self) -> Sample:
        """The sample without its medium and references, whose memory can then be freed."""
        return Sample(None, self.prompt, self.meta)


@dataclass(frozen=True)
class LazySample:
    """A sample that is read when its batch is near.

    Attributes:
        read: returns the sample; called once, in a loader thread.
        group: samples with the same number are compared by a `GroupReward`; None is no group.
    """

    read: Callable[[], Sample]
    group: int | None = None

    @classmethod
    def of(cls, sample: Sample, group: int | None = None) -> LazySample:
        """A sample that is in memory already."""
        return cls(lambda: sample, group)


@dataclass(frozen=True)
class Batch:
    """B samples that are scored together."""

    samples: Sequence[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def media(self) -> list[Medium]:
        """The medium of each sample.

        Raises:
            UsageError: a scorer has let them go. A reward that looks at media itself reads
                `features` of the extractor `RawMedia`.
        """
        media = [sample.medium for sample in self.samples if sample.medium is not None]
        if len(media) != len(self.samples):
            raise UsageError(
                "the media of this batch have been let go. A reward that looks at media itself "
                "has the extractor RawMedia(), whose features are the samples with their media"
            )
        return media

    @property
    def prompts(self) -> list[str | None]:
        """The prompt of each sample; None where it has none."""
        return [sample.prompt for sample in self.samples]

    @property
    def meta(self) -> list[Mapping[str, Any]]:
        """The other keys of each sample's manifest or prompt line."""
        return [sample.meta for sample in self.samples]

    @property
    def references(self) -> list[Mapping[str, Medium]]:
        """The reference media of each sample, by name."""
        return [sample.references for sample in self.samples]

    @classmethod
    def of(
        cls,
        media: Any,
        prompts: str | Sequence[str | None] | None = None,
        meta: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        references: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> Batch:
        """A batch of anything `to_medium` accepts; one prompt string serves every sample.

        A single medium, such as one path, is a batch of one.

        Args:
            media: a list of media, or one.
            prompts: one per medium, or one for all.
            meta: of each medium a mapping of other keys.
            references: of each medium a mapping from names to media.

        Raises:
            UsageError: the arguments are not what is accepted.
            ScoringError: naming the first sample with a medium that cannot be opened, and why.
        """
        listed = _as_list(media)
        texts, lines = (
            one_text_each(prompts, len(listed)),
            one_mapping_each("meta", meta, len(listed)),
        )
        others = one_mapping_each("references", references, len(listed))
        sizes = {"media": listed, "prompts": texts, "meta": lines, "references": others}
        if len({len(values) for values in sizes.values()}) != 1:
            counts = ", ".join(f"{len(values)} {what}" for what, values in sizes.items())
            raise UsageError(f"a batch has one of each per sample, but {counts} were given")
        samples = []
        for index, (medium, text, line, named) in enumerate(
            zip(listed, texts, lines, others, strict=True)
        ):
            try:
                opened = {name: to_medium(reference) for name, reference in named.items()}
                samples.append(Sample(to_medium(medium), text, line, opened))
            except InputError as error:
                raise ScoringError(index, error) from error
        return cls(samples)


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


def kind_of(medium: Medium) -> Kind:
    """Whether a medium is an "image" or a "video"."""
    return "video" if isinstance(medium, Clip) else "image"


def to_medium(source: Any) -> Medium:
    """A medium from any of the accepted types.

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
