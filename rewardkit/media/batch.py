"""What is scored: a `Sample` is a picture or clip with its prompt, a `Batch` holds several.

`to_medium` is the one boundary where anything a user may hold (path, PIL picture, array, float
tensor) becomes such a medium, rounded exactly as saving a PNG would round it, so that training and
`rewardkit score` see the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rewardkit.errors import InputError, ScoringError, UsageError
from rewardkit.media.arguments import one_mapping_each, one_text_each
from rewardkit.media.arrays import check_uint8, from_array, to_uint8
from rewardkit.media.decoding import CLIP_SUFFIXES, decode_clip
from rewardkit.media.files import refuse_address
from rewardkit.media.sampling import sample_indices

if TYPE_CHECKING:
    import torch

Kind = Literal["image", "video"]


@dataclass(frozen=True)
class Clip:
    """Frames of one video.

    Attributes:
        frames: uint8 `[F, 3, H, W]`.
        fps: frames per second.
        stated_fps: the average rate that the file's header states, where `frames` are all frames of
            a file; of a variable rate, it may differ from `fps`, which time stamps say.
        repeats: whether sampling took a frame more than once; rewards that compare neighbouring
            frames refuse such a clip, whose motion stops and starts.
    """

    frames: torch.Tensor
    fps: float
    stated_fps: float | None = None
    repeats: bool = False

    def __post_init__(self) -> None:
        check_uint8(self.frames, ndim=4, what="Clip.frames", shape="[F, 3, H, W]")
        if len(self.frames) == 0:
            raise InputError("a Clip needs at least one frame; 0 were given")
        if not isinstance(self.fps, Real) or not 0 < self.fps < float("inf"):
            raise InputError(f"a Clip's fps is a positive number; {self.fps!r} was given")

    def sampled(self, fps: float) -> Clip:
        """The clip at another rate: for k = 0, 1, ... the frame nearest to k / fps seconds.

        The earlier one of two equally near frames is taken. A higher rate repeats frames; the frame
        at k = 0 is always there. `read_clip(path, fps=fps)` chooses the same frames
        (`rewardkit.media.sampling.sample_indices`).

        Raises:
            UsageError: fps is not a positive, finite number.
        """
        times = [index / self.fps for index in range(len(self.frames))]
        chosen = sample_indices(times, fps)
        repeats = self.repeats or len(set(chosen)) < len(chosen)
        return Clip(self.frames[chosen], fps, repeats=repeats)


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

    def frames(self, fps: float | None = None) -> torch.Tensor:
        """The frames of a clip, or the one of a picture, uint8 `[F, 3, H, W]`.

        Args:
            fps: how many are taken per second of a clip, as `Clip.sampled` chooses them, and no
                frame twice: of a clip with a lower rate, every frame. None takes every frame.
        """
        if not isinstance(self.medium, Clip):
            return self.picture[None]
        if fps is None or fps >= self.medium.fps:
            return self.medium.frames
        return self.medium.sampled(fps).frames

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

    Accepts a `Clip`; a path, which is that of a clip where its extension is that of one
    (`CLIP_SUFFIXES`), or a PIL picture (see `rewardkit.media.images`); a tensor or array
    `[3, H, W]`, or an array `[H, W, 3]` as numpy holds pictures; uint8 in 0..255 or floating point
    in 0..1. An array that is both, `[3, H, 3]`, is read as `[3, H, W]`. Floats are rounded as a PNG
    writer rounds them: `round(255 x)`, half to even. From a GPU, it comes to the CPU, where media
    are prepared.

    Raises:
        InputError: a picture or clip that cannot be read, a wrong shape, dtype or range.
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
        path = Path(source)
        is_clip = path.suffix.lower() in CLIP_SUFFIXES
        return Clip(*decode_clip(path)) if is_clip else read_image(path)
    if isinstance(source, Image.Image):
        return read_image(source)
    if isinstance(source, np.ndarray):
        source = from_array(source)
    if not isinstance(source, torch.Tensor):
        raise InputError(
            f"a {type(source).__name__} is not a picture or clip. Accepted: {_ACCEPTED}"
        )
    if source.is_floating_point():
        source = to_uint8(source.detach())
    check_uint8(source, ndim=3, what="a picture", shape="[3, H, W]")
    return source.cpu()
