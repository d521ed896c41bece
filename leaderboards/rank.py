"""Which model is better, as far as tests can tell. Pure functions.

Two models are compared on the pictures or clips that both have, prompt by prompt. One is better
where the two-sided p-value of `rewardkit.stats.flips.sign_flip` is below 0.05, which is what
`rewardkit bench compare` prints. The p-value decides, not the interval of the difference, because
it keeps its level also for few prompts and for models that are nearly always right, where the
interval is too narrow.

A verdict is about two models, so other models do not change it. Verdicts are not corrected for
their number: of twenty pairs of equal models, about one is declared different.
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
class PairVerdict:
    """How two models compare.

    Attributes:
        difference: the headline of the first minus that of the second, over what both have.
        p_value: two-sided, of no difference.
        win_rate: the share of prompts on which the first is better; equal ones count half.
        shared: how many pictures or clips both have.
    """

    difference: float
    p_value: float
    win_rate: float
    shared: int

    @property
    def better(self) -> int:
        """1 where the first is significantly better, -1 where the second is, else 0."""
        return 0 if self.p_value >= LEVEL else 1 if self.difference > 0 else -1

    def mirrored(self) -> PairVerdict:
        """The verdict on the second and the first."""
        return PairVerdict(-self.difference, self.p_value, 1 - self.win_rate, self.shared)


def compare(
    first: Mapping[str, float], second: Mapping[str, float], headline: Headline
) -> PairVerdict | None:
    """The verdict on two models; None where they have nothing in common.

    Args:
        first: one model's scores, by the id of a row.
        second: the other model's scores.
        headline: how scores become one number.
    """
    (found,) = _verdicts([(first, second)], headline, {})
    return found


def _verdicts(
    pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]],
    headline: Headline,
    cluster: Mapping[str, int],
) -> list[PairVerdict | None]:
    """The verdicts of `compare` on many pairs of models, which is faster than one by one."""
    from rewardkit.stats.flips import sign_flips
    from rewardkit.stats.intervals import win_rate
    from rewardkit.stats.totals import Grouping, Totals

    groupings: dict[tuple[str, ...], Grouping] = {}
    differences: dict[int, Totals] = {}
    shared: dict[int, int] = {}
    for number, (first, second) in enumerate(pairs):
        both = tuple(id for id in first if id in second)
        if not both:
            continue
        if both not in groupings:
            places = [place(id) for id in both]
            groupings[both] = Grouping.of(
                [cluster.get(id, index) for id, (_, index, _) in zip(both, places, strict=True)],
                [stratum for stratum, _, _ in places],
            )
        values = [first[id] - second[id] for id in both]
        differences[number] = groupings[both].totals(values)
        shared[number] = len(both)
    p_values = dict(zip(differences, sign_flips(list(differences.values()), headline), strict=True))
    found: list[PairVerdict | None] = [None] * len(pairs)
    for number, totals in differences.items():
        found[number] = PairVerdict(
            difference=totals.mean(headline),
            p_value=p_values[number],
            win_rate=win_rate([(total > 0) * 1.0 - (total < 0) for total in totals.sums]),
            shared=shared[number],
        )
    return found


@final
class Verdicts:
    """The verdicts on all pairs of some models."""

    def __init__(
        self,
        scores: Mapping[str, Mapping[str, float]],
        headline: Headline,
        cluster: Mapping[str, int] | None = None,
    ) -> None:
        """Compares all pairs.

        Args:
            scores: by model, its scores by the id of a row.
            headline: how scores become one number.
            cluster: by the id of a row, its prompt; a row that is not there counts for the line of
                the benchmark it was made for.
        """
        self._found: dict[tuple[str, str], PairVerdict] = {}
        pairs = list(combinations(scores, 2))
        for start in range(0, len(pairs), _AT_ONCE):
            part = pairs[start : start + _AT_ONCE]
            verdicts = _verdicts(
                [(scores[first], scores[second]) for first, second in part], headline, cluster or {}
            )
            for (first, second), verdict in zip(part, verdicts, strict=True):
                if verdict is not None:
                    self._found[first, second] = verdict
                    self._found[second, first] = verdict.mirrored()

    def of(self, first: str, second: str) -> PairVerdict | None:
        """The verdict on two models; None where they have nothing in common."""
        return self._found.get((first, second))

    def ranks(self, models: Sequence[str]) -> dict[str, Ranks]:
        """The ranks that each of `models` can have among them."""
        found = {}
        for model in models:
            better = [verdict.better for verdict in self._against(model, models)]
            found[model] = Ranks(best=1 + better.count(-1), worst=len(models) - better.count(1))
        return found

    def win_rate(self, model: str, models: Iterable[str]) -> float | None:
        """The mean, over the others of `models`, of the share of prompts on which it is better."""
        rates = [verdict.win_rate for verdict in self._against(model, models)]
        return fmean(rates) if rates else None

    def _against(self, model: str, models: Iterable[str]) -> list[PairVerdict]:
        found = (self.of(model, other) for other in models if other != model)
        return [verdict for verdict in found if verdict is not None]


def standings(
    boards: Mapping[str, tuple[Sequence[str], Verdicts]],
) -> tuple[tuple[Standing, ...], dict[str, tuple[str, ...]]]:
    """Models across boards, best mean rank first, and those that some board does not rank.

    A model has to be ranked on every board: means over different boards cannot be compared.

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
