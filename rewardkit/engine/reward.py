"""The contract every reward keeps: one scalar per sample, independent of its neighbours.

Scoring a sample has two halves. `Extractor.prepare` does the per-sample work on the CPU, in loader
threads, ahead of the device; `Extractor.features` and `Reward.score` then see a whole batch. The
extractor is a shared encoder, the reward itself (`MeasuredReward`), or nothing but the medium
(`RawMedia`). What a reward needs of a sample, and what it returns, is checked in
`rewardkit.engine.checks`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rewardkit.engine.card import RewardCard
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.loader import Loader
from rewardkit.media.batch import Batch, Medium, Sample

if TYPE_CHECKING:
    import torch


class Reward(ABC):
    """A number for each picture or clip: a higher score is better.

    A subclass is registered with its card (`rewardkit.engine.registry.register`) and says how to
    load and how to score; everything else is done for it. `rewardkit.create(NAME)` loads one and
    returns a `LoadedReward`, which scores media.

    Attributes:
        card: what it needs and returns.
        extractor: what it reads features from.
    """

    card: RewardCard
    extractor: Extractor

    @classmethod
    @abstractmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """The reward of `card`, with encoders and weights taken from `loader`.

        A network that `loader.module` makes, or that is handed to `loader.keep`, can wait on the
        CPU while nothing is scored. With a tiny loader the same code gives a small random network,
        for tests.
        """

    @abstractmethod
    def score(self, batch: Batch, features: Any) -> torch.Tensor:
        """Scores `[B]` of a batch whose `features` the extractor computed.

        Called without gradients (`torch.inference_mode`); where the card says `differentiable`,
        also with features that have one. The batch has prompts and meta; its media and references
        have been let go after `Extractor.prepare`. A sample's score must not depend on the rest of
        the batch.
        """

    @classmethod
    def check_line(cls, prompt: str, meta: Mapping[str, Any]) -> None:
        """Refuse a prompt that no sample could be scored with, before anything is made for it.

        Most rewards take any text. One that reads a grammar, or the values of the line's other
        keys, overrides this.

        Raises:
            InputError: the prompt, or the other keys of its line, are not of its kind.
        """
        return None

    def provenance(self) -> Mapping[str, str]:
        """What decides its numbers beside weights and preprocessing, for results."""
        return {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.card.name}>"


class GroupReward(Reward):
    """A reward that compares the samples of one group, such as the win rate inside it.

    `score` sees exactly one whole group, or none of it: where one of its samples cannot be scored,
    all of them get that error. It serves training; a folder has no groups, so `rewardkit score`
    refuses it by name.
    """


class EncodedReward(Reward):
    """A reward that is a formula on the features of its card's encoder, and nothing more."""

    def __init__(self, card: RewardCard, encoder: Extractor) -> None:
        self.card = card
        self.extractor = encoder

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads the encoder that the card names."""
        from rewardkit.engine.encoders import ClipEncoder

        assert card.encoder is not None
        return cls(card, ClipEncoder.shared(card.encoder, loader))


class MeasuredReward(Reward, Extractor):
    """A reward without weights: a number measured on each medium by itself, on the CPU."""

    def __init__(self, card: RewardCard) -> None:
        self.card = card
        self.extractor = self

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Nothing is loaded."""
        return cls(card)

    @abstractmethod
    def measure(self, medium: Medium) -> float:
        """The score of one medium."""

    def prepare(self, sample: Sample) -> float:
        """Measures in the loader thread, so that decoded media can be let go at once."""
        assert sample.medium is not None
        return self.measure(sample.medium)

    def features(self, prepared: Sequence[float]) -> Sequence[float]:
        """The measured numbers."""
        return prepared

    def score(self, batch: Batch, features: Sequence[float]) -> torch.Tensor:
        """The measured numbers, float32 `[B]`."""
        import torch

        return torch.tensor(features, dtype=torch.float32)


@dataclass(frozen=True)
class RewardEntry:
    """A reward that can be loaded.

    Attributes:
        card: its card.
        cls: the class that scores.
        origin: where it was registered.
        file: the user's Python file that it was read from; None where it is registered.
    """

    card: RewardCard
    cls: type[Reward]
    origin: str
    file: Path | None = None
