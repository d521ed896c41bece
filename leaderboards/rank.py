"""Who is better, as far as the pictures can tell. Pure functions.

Two models are compared on the pictures that both have, prompt by prompt: one is better where the
two-sided p-value of `rewardkit.stats.clusters.sign_flip` is below 0.05, which is what `rewardkit
bench compare` prints. It, and not the interval of the difference, because it keeps its level also
for few prompts and for models that are right nearly always, where the interval is too narrow.

A verdict is of two models, so others that come or go do not change it. Verdicts are not corrected
for how many there are: of twenty pairs of equal models about one is told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import final

from benchmarks.rows import place
from leaderboards.board import Ranks, Standing
from rewardkit.stats.totals import Headline

LEVEL = 0.05
# Pairs that are tested together; more would take memory without being faster.
_AT_ONCE = 2000


@final
@dataclass(frozen=True)
class Verdict:
    """What the pictures of two models tell.

    Attributes:
        difference: the headline of the first less the second, over the pictures of both.
        p_value: of no difference, two-sided.
        win_rate: the share of prompts on which the first is better, where equal counts half.
        pictures: how many both have.
    """

    difference: float
    p_value: float
    win_rate: float
    pictures: int

    @property
    def better(self) -> int:
        """1 where the first is surely better, -1 where the second is, else 0."""
        return 0 if self.p_value >= LEVEL else 1 if self.difference > 0 else -1

    def mirrored(self) -> Verdict:
        """That of the second and the first."""
        return Verdict(-self.difference, self.p_value, 1 - self.win_rate, self.pictures)


def compare(
    first: Mapping[str, float], second: Mapping[str, float], headline: Headline
) -> Verdict | None:
    """The verdict on two models; None where they share no picture.

    Args:
        first: scores by the id of a picture.
        second: the other model's.
        headline: how scores become one number.
    """
    (found,) = _verdicts([(first, second)], headline, {})
    return found


def _verdicts(
    pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]],
    headline: Headline,
    cluster: Mapping[str, int],
) -> list[Verdict | None]:
    """The verdicts on pairs of models, as `compare` has them; many at once are cheaper."""
    from rewardkit.stats.flips import sign_flips
    from rewardkit.stats.intervals import win_rate
    from rewardkit.stats.totals import Grouping, Totals

    groupings: dict[tuple[str, ...], Grouping] = {}
    differences: dict[int, Totals] = {}
    pictures: dict[int, int] = {}
    for number, (first, second) in enumerate(pairs):
        both = tuple(id for id in first if id in second)
        if not both:
            continue
        if both not in groupings:
            places = [place(id) for id in both]
            groupings[both] = Grouping.of(
                [cluster.get(id, index) for id, (_, index, _) in zip(both, places, strict=True)],
                [task for task, _, _ in places],
            )
        values = [first[id] - second[id] for id in both]
        differences[number] = groupings[both].totals(values)
        pictures[number] = len(both)
    p_values = dict(zip(differences, sign_flips(list(differences.values()), headline), strict=True))
    found: list[Verdict | None] = [None] * len(pairs)
    for number, of in differences.items():
        found[number] = Verdict(
            difference=of.mean(headline),
            p_value=p_values[number],
            win_rate=win_rate([(total > 0) * 1.0 - (total < 0) for total in of.sums]),
            pictures=pictures[number],
        )
    return found


@final
class Verdicts:
    """Those on all pairs of some models."""

    def __init__(
        self,
        scores: Mapping[str, Mapping[str, float]],
        headline: Headline,
        cluster: Mapping[str, int] | None = None,
    ) -> None:
        """Compares all pairs.

        Args:
            scores: by model, scores by the id of a picture.
            headline: how scores become one number.
            cluster: by the id of a picture, its prompt; one that is not there counts for the line
                of the benchmark it was made for.
        """
        self._found: dict[tuple[str, str], Verdict] = {}
        pairs = list(combinations(scores, 2))
        for start in range(0, len(pairs), _AT_ONCE):
            part = pairs[start : start + _AT_ONCE]
            verdicts = _verdicts(
                [(scores[one], scores[two]) for one, two in part], headline, cluster or {}
            )
            for (first, second), verdict in zip(part, verdicts, strict=True):
                if verdict is not None:
                    self._found[first, second] = verdict
                    self._found[second, first] = verdict.mirrored()

    def of(self, first: str, second: str) -> Verdict | None:
        """That on two models; None where they share no picture."""
        return self._found.get((first, second))

    def ranks(self, models: Sequence[str]) -> dict[str, Ranks]:
        """What rank each of `models` can have among them."""
        found = {}
        for one in models:
            told = [verdict.better for verdict in self._against(one, models)]
            found[one] = Ranks(best=1 + told.count(-1), worst=len(models) - told.count(1))
        return found

    def win_rate(self, model: str, models: Iterable[str]) -> float | None:
        """The mean, over the others of `models`, of the share of prompts on which it is better."""
        rates = [verdict.win_rate for verdict in self._against(model, models)]
        return fmean(rates) if rates else None

    def _against(self, model: str, models: Iterable[str]) -> list[Verdict]:
        found = (self.of(model, other) for other in models if other != model)
        return [verdict for verdict in found if verdict is not None]


def standings(
    boards: Mapping[str, tuple[Sequence[str], Verdicts]],
) -> tuple[tuple[Standing, ...], dict[str, tuple[str, ...]]]:
    """Models across boards, best mean rank first; and those that some board does not rank.

    A model that is not ranked everywhere stands nowhere: a mean over other boards than its rivals'
    says nothing.

    Args:
        boards: by id, the ranked models and the verdicts on them.
    """
    everyone = dict.fromkeys(model for models, _ in boards.values() for model in models)
    absent = {
        model: tuple(id for id, (models, _) in boards.items() if model not in models)
        for model in everyone
    }
    common = [model for model in everyone if not absent[model]]
    ranks = {id: verdicts.ranks(common) for id, (_, verdicts) in boards.items()}
    rows = []
    for model in common:
        rates = [verdicts.win_rate(model, common) for _, verdicts in boards.values()]
        known = [rate for rate in rates if rate is not None]
        rows.append(
            Standing(
                model=model,
                mean_rank=fmean(sum(ranks[id][model]) / 2 for id in boards),
                win_rate=fmean(known) if known else None,
                ranks={id: ranks[id][model] for id in boards},
            )
        )
    rows.sort(key=lambda row: (row.mean_rank, -(row.win_rate or 0), row.model))
    return tuple(rows), {model: lacking for model, lacking in absent.items() if lacking}
