"""Win rates: `win-rate:hps` compares the samples of a group with one another, by the score of hps.

    r_i = 1 / (G - 1) sum over j != i of [s_i > s_j] + [s_i = s_j] / 2

The pairwise preference of Pref-GRPO, Wang et al. 2025, https://arxiv.org/abs/2508.20751, whose
judge is a vision-language model; here it is any reward. The order of a group counts, and how far
its scores lie apart does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

from rewardkit.engine import registry
from rewardkit.engine.card import RewardCard
from rewardkit.engine.checks import check_scores
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.reward import GroupReward, Reward, RewardEntry
from rewardkit.errors import InputError, ScoringError, UsageError
from rewardkit.media.batch import Batch, Sample

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.loader import Loader

# A group of any size fits in memory: it goes through the judge's networks in pieces of this size,
# or of that which the judge's card states.
_AT_ONCE = 32


def win_rates(scores: torch.Tensor) -> torch.Tensor:
    """The share of the other samples that each sample beats, `[G]` float32; a tie counts one half.

    Args:
        scores: of one group, `[G]`, G at least 2.
    """
    above = (scores[:, None] > scores).float()
    equal = (scores[:, None] == scores).float()
    return ((above + equal / 2).sum(dim=1) - 0.5) / (len(scores) - 1)  # without itself, a tie


@final
class Pieces(Extractor):
    """An extractor on a few samples at once.

    Attributes:
        extractor: the extractor.
        size: the largest number of samples.
    """

    def __init__(self, extractor: Extractor, size: int) -> None:
        self.extractor, self.size = extractor, size

    def prepare(self, sample: Sample) -> Any:
        """What the extractor prepares."""
        return self.extractor.prepare(sample)

    def features(self, prepared: Sequence[Any]) -> list[Any]:
        """The features of each piece."""
        starts = range(0, len(prepared), self.size)
        return [self.extractor.features(prepared[i : i + self.size]) for i in starts]


class WinRate(GroupReward):
    """The win rate of each sample in its group, by the score of a judge.

    Attributes:
        judge: the registration of the judge.
    """

    judge: ClassVar[RewardEntry]

    def __init__(self, card: RewardCard, judging: Reward) -> None:
        self.card = card
        self.extractor = self._pieces = Pieces(
            judging.extractor, judging.card.batch_size or _AT_ONCE
        )
        self._judging = judging

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads the judge."""
        return cls(card, cls.judge.cls.load(cls.judge.card, loader))

    @classmethod
    def check_line(cls, prompt: str, meta: Mapping[str, Any]) -> None:
        """Refuse what the judge refuses.

        Raises:
            InputError: the judge cannot score this prompt.
        """
        cls.judge.cls.check_line(prompt, meta)

    def score(self, batch: Batch, features: Sequence[Any]) -> torch.Tensor:
        """The win rates, float32 `[G]`.

        Raises:
            InputError: the group has one sample.
            ScoringError: the judge returned no finite number for a sample.
        """
        import torch

        if len(batch) < 2:
            raise InputError("a win rate compares samples, and the group has one")
        size = self._pieces.size
        starts = range(0, len(batch), size)
        scores = [
            self._judge(batch, start, piece) for start, piece in zip(starts, features, strict=True)
        ]
        return win_rates(torch.cat(scores))

    def _judge(self, batch: Batch, start: int, features: Any) -> torch.Tensor:
        """The judge's scores of the piece that begins at `start`."""
        piece = Batch(batch.samples[start : start + self._pieces.size])
        try:
            return check_scores(
                self._judging.card, self._judging.score(piece, features), len(piece)
            )
        except ScoringError as error:
            raise ScoringError(start + error.index, error.cause) from error


@final
class WinRates:
    """The scheme `win-rate:REWARD`."""

    form = "win-rate:REWARD"

    def check(self, place: str) -> str:
        """See `Scheme.check`."""
        return registry.resolve(place)

    def entry(self, name: str, place: str) -> RewardEntry:
        """See `Scheme.entry`."""
        judge = registry.entry(place)
        if issubclass(judge.cls, GroupReward):
            raise UsageError(f"{name}: {place} compares the samples of a group already")
        card = _card(name, judge.card)
        return RewardEntry(card, type("WinRate", (WinRate,), {"judge": judge}), judge.origin)


def _card(name: str, judge: RewardCard) -> RewardCard:
    """The card of a win rate by the score of `judge`."""
    fields = dict(judge) | {
        "name": name,
        "summary": f"The sample beats more of the others of its group: by {judge.name}.",
        "differentiable": False,
        "unit": "share of the other samples of the group",
        "range": (0.0, 1.0),
        "typical": None,
        "paper": "https://arxiv.org/abs/2508.20751",
        "published": (),
        "notes": (
            "For training only: files have no groups.",
            f"Beside its judge in one spec, as in {judge.name}+{name}, the features of each sample "
            "are computed twice.",
            *judge.notes,
        ),
    }
    return RewardCard(**fields)


registry.register_scheme("win-rate", WinRates())
