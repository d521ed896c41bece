"""Frames of clips through what scores pictures: each is one, with the prompt of its clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from rewardkit.engine.card import RewardCard
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.engine.reward import Reward
from rewardkit.errors import InputError
from rewardkit.media.batch import Batch, Clip, Sample

if TYPE_CHECKING:
    import torch

#: How many frames go through a network at once: clips of any length fit in memory.
FRAMES_AT_ONCE = 32
_SUFFIX = "-frames"


def refuse_repeats(clip: Clip) -> None:
    """Refuses a clip that repeats a frame, for rewards that compare neighbouring frames.

    A repeated frame is a moment without motion: the clip would seem steadier than it is.

    Raises:
        InputError: sampling has repeated frames.
    """
    if clip.repeats:
        raise InputError(
            "neighbouring frames are compared, and sampling has repeated some of this video: it "
            "has fewer frames than --frames, or a lower rate than --fps, asks for. Ask for fewer "
            "frames or a lower rate, or leave the option out to compare every frame"
        )


@dataclass(frozen=True)
class FrameFeatures:
    """Features of the frames of several clips, one clip after another.

    Attributes:
        chunks: of at most `FRAMES_AT_ONCE` frames each, as the extractor of pictures returns them.
        counts: how many frames each clip has.
    """

    chunks: Sequence[Any]
    counts: Sequence[int]

    def with_batches(self, batch: Batch) -> Iterator[tuple[Batch, Any]]:
        """Each chunk with its batch, in which a frame has the prompt and meta of its clip."""
        samples = [
            sample
            for sample, count in zip(batch.samples, self.counts, strict=True)
            for _ in range(count)
        ]
        for index, chunk in enumerate(self.chunks):
            start = index * FRAMES_AT_ONCE
            yield Batch(samples[start : start + FRAMES_AT_ONCE]), chunk


class FrameExtractor(Extractor):
    """An extractor of pictures, on the frames of clips.

    Attributes:
        pictures: reads each frame.
        fps: frames per second of a clip, see `Sample.frames`; None is every frame.
        at_least: the smallest number of frames that its rewards can score; from 2 on, they compare
            frames.
    """

    def __init__(self, pictures: Extractor, fps: float | None, at_least: int = 1) -> None:
        self.pictures = pictures
        self.fps = fps
        self.at_least = at_least

    @classmethod
    def shared(
        cls, pictures: Extractor, fps: float | None, loader: Loader, at_least: int = 1
    ) -> FrameExtractor:
        """The same object for every reward that asks for equal frames of one extractor."""
        key = (cls, pictures, fps, at_least)
        return loader.shared(key, lambda: cls(pictures, fps, at_least))

    def prepare(self, sample: Sample) -> list[Any]:
        """Each frame, prepared as a picture.

        Raises:
            InputError: the clip has too few frames, or frames that sampling repeated are compared.
        """
        if self.at_least > 1:
            refuse_repeats(sample.clip)
        frames = sample.frames(self.fps)
        if len(frames) < self.at_least:
            raise InputError(
                f"frames are compared, at least {self.at_least}; this clip has {len(frames)}"
            )
        return [self.pictures.prepare(replace(sample, medium=frame)) for frame in frames]

    def features(self, prepared: Sequence[list[Any]]) -> FrameFeatures:
        """Features of all frames, computed in chunks."""
        frames = [frame for clip in prepared for frame in clip]
        starts = range(0, len(frames), FRAMES_AT_ONCE)
        chunks = [self.pictures.features(frames[i : i + FRAMES_AT_ONCE]) for i in starts]
        return FrameFeatures(chunks, [len(clip) for clip in prepared])


class FrameMean(Reward):
    """The mean of a picture's reward over the frames of a clip."""

    def __init__(self, card: RewardCard, picture: Reward, loader: Loader) -> None:
        self.card = card
        self.picture = picture
        self.extractor = FrameExtractor.shared(picture.extractor, card.fps, loader)

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads the reward of pictures that the card is named after."""
        picture = entry(card.name.removesuffix(_SUFFIX))
        return cls(card, picture.cls.load(picture.card, loader), loader)

    def score(self, batch: Batch, features: FrameFeatures) -> torch.Tensor:
        """The mean over a clip's frames, of scores that are computed frame by frame; float32."""
        import torch

        scores = [self.picture.score(*chunk) for chunk in features.with_batches(batch)]
        clips = torch.split(torch.cat(scores).double(), list(features.counts))
        return torch.stack([clip.mean() for clip in clips]).float()


def frame_mean_card(picture: RewardCard, fps: float) -> RewardCard:
    """The card of a picture reward's mean over the frames of a clip."""
    notes = (
        f"The mean of {picture.name} over the frames nearest to 0, 1/{fps:g}, 2/{fps:g}, ... "
        "seconds; a clip of a lower rate is looked at frame by frame.",
        "Motion does not count: a still video scores as its picture does.",
        "Own definition: upstream scores images only.",
    )
    summary = f"The frames score higher as images: the mean of {picture.name}."
    fields = dict(picture) | {
        "name": picture.name + _SUFFIX,
        "summary": summary,
        "inputs": ("video",),
        "differentiable": False,
        "fps": fps,
        "published": (),
        "notes": (*notes, *picture.notes),
    }
    return RewardCard(**fields)
