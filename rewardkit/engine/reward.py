"""The contract every reward keeps: one scalar per sample, independent of its neighbours.

Scoring a medium has two halves. `Extractor.prepare` does the per-sample work on the CPU, in loader
threads, ahead of the device; `Extractor.features` and `Reward.score` then see a whole batch. The
extractor is a shared encoder, the reward itself (`MeasuredReward`), or nothing but the medium
(`RawMedia`). The boundary checks live here, once: see `missing` and `check_scores`.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rewardkit.engine.card import RewardCard
from rewardkit.errors import InputError, RewardKitError, ScoringError
from rewardkit.media.batch import Batch, Kind, Medium

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.loader import Loader


class BrokenReward(RewardKitError):
    """A reward did not do what every reward does, whatever its samples are."""


class Extractor(ABC):
    """Turns media into what rewards read; shared by every reward that names the same one."""

    @abstractmethod
    def prepare(self, medium: Medium) -> Any:
        """The CPU half, one sample at a time; must be thread-safe and leave `medium` as it is."""

    @abstractmethod
    def features(self, prepared: Sequence[Any]) -> Any:
        """The batched half; one object that every reward of the batch reads."""


class RawMedia(Extractor):
    """The extractor of rewards that look at the decoded media themselves."""

    def prepare(self, medium: Medium) -> Medium:
        """The medium as it is."""
        return medium

    def features(self, prepared: Sequence[Medium]) -> Sequence[Medium]:
        """The media of the batch."""
        return prepared


class Reward(ABC):
    """A judge of pictures or clips: `reward(media, prompts) -> float32 [B]`, higher is better.

    A subclass is registered with its card (`rewardkit.engine.registry.register`) and says how to
    load and how to score; everything else is done for it.

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
        """Scores `[B]` of a batch whose `features` the extractor computed; `batch.media` is None.

        A sample's score must not depend on the rest of the batch.
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

    def __call__(
        self,
        media: Any,
        prompts: str | Sequence[str | None] | None = None,
        meta: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> torch.Tensor:
        """Scores, float32 `[B]` on the CPU, of anything `rewardkit.media.batch.Batch.of` takes.

        Raises:
            UsageError: the media or prompts are not what is accepted.
            ScoringError: naming the first sample that cannot be scored.
        """
        from rewardkit.engine.scorer import Scorer
        from rewardkit.engine.spec import RewardSpec, Term

        name = self.card.name
        return Scorer(RewardSpec((Term(name),)), {name: self})(media, prompts, meta)[name]

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
        """With the encoder the card names."""
        assert card.encoder is not None
        return cls(card, loader.encoder(card.encoder))


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

    def prepare(self, medium: Medium) -> float:
        """Measures in the loader thread, so that decoded media can be let go at once."""
        return self.measure(medium)

    def features(self, prepared: Sequence[float]) -> Sequence[float]:
        """The measured numbers."""
        return prepared

    def score(self, batch: Batch, features: Sequence[float]) -> torch.Tensor:
        """The measured numbers, float32 `[B]`."""
        import torch

        return torch.tensor(features, dtype=torch.float32)


class FunctionReward(Reward):
    """A plain function as a reward: takes a `Batch`, media and all; returns B numbers."""

    def __init__(self, card: RewardCard, function: Callable[[Batch], Any]) -> None:
        self.card = card
        self.extractor = RawMedia()
        self._function = function

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """The function that `card.name`, FILE.py:FUNCTION, points at."""
        from rewardkit.engine.registry import Entry, load_attribute

        function = load_attribute(card.name)
        assert not isinstance(function, Entry)
        return cls(card, function)

    def score(self, batch: Batch, features: Sequence[Medium]) -> torch.Tensor:
        """What the function returns, as a tensor. What it prints goes to stderr.

        Its errors get a note with the last line of the function's own file.
        """
        import torch

        try:
            # stdout is for the scores, which a printing function would mix with its own text.
            with contextlib.redirect_stdout(sys.stderr):
                returned = self._function(Batch(features, batch.prompts, batch.meta))
        except BaseException as error:
            note_place(error, self.card.name.rpartition(":")[0])
            raise
        return torch.as_tensor(returned, dtype=torch.float32)


def note_place(error: BaseException, file: str | Path) -> None:
    """Note on `error` the last line of `file` that it came through."""
    places = traceback.extract_tb(error.__traceback__)
    line = next((p.lineno for p in reversed(places) if _same(p.filename, file)), None)
    if line is not None:
        error.add_note(f"{file}, line {line}")


def _same(name: str, file: str | Path) -> bool:
    return Path(name).resolve() == Path(file).resolve()


def wrong_kind(card: RewardCard, kind: Kind) -> InputError | None:
    """The error of a clip where a picture is needed, or the other way round; None if it fits."""
    if kind in card.inputs:
        return None
    takes = " and ".join({"image": "pictures", "video": "clips"}[k] for k in card.inputs)
    given = {"image": "a picture", "video": "a clip"}[kind]
    return InputError(f"{card.name} takes {takes}; {given} was given")


def missing(card: RewardCard, prompt: str | None, meta: Mapping[str, Any]) -> InputError | None:
    """The error of a sample that lacks what `card` needs; None where nothing is missing."""
    if card.needs_prompt and not (prompt and prompt.strip()):
        return InputError(f"{card.name} needs a prompt and this sample has none")
    absent = [key for key in card.needs_meta if key not in meta]
    if absent:
        return InputError(f"{card.name} needs the keys {', '.join(absent)} of the prompt's line")
    return None


def check_scores(card: RewardCard, scores: torch.Tensor, size: int) -> torch.Tensor:
    """Scores as float32 `[B]` on the CPU.

    Raises:
        BrokenReward: the reward did not return one number per sample.
        ScoringError: a score is not finite.
    """
    import torch

    if not isinstance(scores, torch.Tensor) or scores.shape != (size,):
        given = list(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise BrokenReward(
            f"{card.name} must return one score per sample, a tensor [{size}]; it returned {given}"
        )
    scores = scores.detach().to("cpu", torch.float32)
    bad = (~scores.isfinite()).nonzero().flatten().tolist()
    if bad:
        value = float(scores[bad[0]])
        raise ScoringError(bad[0], RewardKitError(f"{card.name} returned {value}"))
    return scores
