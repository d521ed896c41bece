"""How sure a benchmark is, and whether two models differ on it. Pure functions.

Rows are independent only between clusters, such as the pictures of different prompts. So what is
resampled, or given another sign, is a cluster with all its items, within its stratum: see
`totals` for both, and for the headline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, TypeVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.stats.intervals import AT_ONCE, RESAMPLES, Interval, finite, win_rate
from rewardkit.stats.power import detectable_difference
from rewardkit.stats.totals import Floats, Headline, Totals, over_tasks

T = TypeVar("T")

# Of fewer clusters even the most extreme of 2^n flips has p = 2 / 2^5 > 0.05.
_FEWEST = 6


@dataclass(frozen=True)
class Estimate:
    """A mean and how sure it is.

    Attributes:
        mean: the mean.
        interval: its 95 % interval; None where a stratum has only one cluster, which does not show
            how clusters differ.
        items: how many items.
        clusters: how many clusters.
    """

    mean: float
    interval: Interval | None
    items: int
    clusters: int


@dataclass(frozen=True)
class Difference:
    """What changed between two models on the same items.

    Attributes:
        before: mean of the first model.
        after: mean of the second model.
        difference: mean of after - before, with its interval.
        p_value: two-sided, of the hypothesis that the models are alike, so that a difference could
            as well have had the other sign. Near 0.05 the interval, which is computed otherwise,
            may disagree; the p-value is what keeps its level. Of skewed differences whose mean is 0
            it is only near its level, see `sign_flip`.
        detectable: the minimum detectable difference of this comparison, at power 0.8; None where
            the differences cannot tell it: all are equal, a stratum has only one cluster, or there
            are too few clusters for any to be significant.
        wins: clusters whose mean is higher after.
        losses: clusters whose mean is lower after.
        ties: clusters whose mean is the same.
        win_rate: (wins + ties / 2) / clusters.
    """

    before: float
    after: float
    difference: Estimate
    p_value: float
    detectable: float | None
    wins: int
    losses: int
    ties: int
    win_rate: float


@dataclass(frozen=True)
class Stratified(Generic[T]):
    """A headline and what it is made of.

    Attributes:
        headline: of all strata.
        strata: by name, in alphabetical order. They are many: about one in twenty intervals misses
            its mean, and one in twenty p-values of equal models is below 0.05.
    """

    headline: T
    strata: dict[str, T]


def estimate(
    values: ArrayLike,
    clusters: ArrayLike,
    strata: ArrayLike,
    headline: Headline,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Stratified[Estimate]:
    """The headline and the mean of each stratum, with bootstrap intervals.

    Percentile intervals over resamples. A resample draws, from each stratum of m clusters, m - 1
    with replacement and weighs them by m / (m - 1): its variance is then the unbiased s^2 / m; m
    draws give (m - 1) / m times that.

    It is too narrow for few clusters (below about 20), and for a mean near the end of its range:
    of 80 prompts whose pictures are right 98 or 99 times of 100 it holds the truth only 92 to 67
    times of 100, and where all are right it has no width.

    Args:
        values: [n], n >= 1, finite.
        clusters: [n], the names (str or int) of the items' clusters. The same name in two strata
            is two clusters.
        strata: [n], the names (str) of the items' strata.
        headline: "tasks" or "items".
        resamples: how many.
        seed: the same seed gives the same intervals, in whatever order the rows are.

    Raises:
        ValueError: no values, one that is not finite, not one name for each, or an unknown
            headline.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13;
    m - 1 draws: Rao and Wu 1988, https://doi.org/10.1080/01621459.1988.10478591; resampling whole
    clusters: Cameron and Miller 2015, https://doi.org/10.3368/jhr.50.2.317.
    """
    return _estimates(Totals.of(values, clusters, strata), headline, resamples, seed)


def compare(
    before: ArrayLike,
    after: ArrayLike,
    clusters: ArrayLike,
    strata: ArrayLike,
    headline: Headline,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Stratified[Difference]:
    """Two models on the same items, pair by pair: the headline and each stratum.

    Intervals are those of `estimate` for after - before; what the models have in common cancels
    (the paired bootstrap). P-values are those of `sign_flip`.

    Args:
        before: [n], n >= 1, finite: the first model's values.
        after: [n], the second model's, of the same items in the same order.
        clusters: [n], as in `estimate`.
        strata: [n], as in `estimate`.
        headline: "tasks" or "items".
        resamples: how many, of the bootstrap and of the flips.
        seed: as in `estimate`. Swapping the models mirrors every number.

    Raises:
        ValueError: as `estimate`, or the lengths differ.

    Source: Koehn 2004, https://aclanthology.org/W04-3250 (paired bootstrap).
    """
    first, second = finite(before), finite(after)
    if first.size != second.size:
        raise ValueError(f"{first.size} and {second.size} values given; pairs need as many of each")
    # The differences first: `split` goes through all three together.
    whole = [Totals.of(of, clusters, strata) for of in (second - first, first, second)]
    found = _estimates(whole[0], headline, resamples, seed)

    def difference(of: Estimate, differences: Totals, one: Totals, other: Totals) -> Difference:
        signs = np.sign(differences.sums)
        return Difference(
            before=one.mean(headline),
            after=other.mean(headline),
            difference=of,
            p_value=sign_flip(differences, headline, resamples=resamples, seed=seed),
            detectable=_detectable(differences, headline),
            wins=int((signs > 0).sum()),
            losses=int((signs < 0).sum()),
            ties=int((signs == 0).sum()),
            win_rate=win_rate(signs),
        )

    parts = zip(*(totals.split() for totals in whole), strict=True)
    strata_found = zip(found.strata.items(), parts, strict=True)
    return Stratified(
        headline=difference(found.headline, *whole),
        strata={name: difference(of, *part) for (name, of), part in strata_found},
    )


def sign_flip(
    differences: Totals, headline: Headline, *, resamples: int = RESAMPLES, seed: int = 0
) -> float:
    """The p-value of no difference: two-sided, by flipping the signs of whole clusters.

    If the models are alike, which one is called the first is chance in each cluster, so that its
    difference could as well have had the other sign. p is the share of such flips whose statistic

        t^2 = d^2 / v,  d: the headline of the differences,  v: its variance, as in `Totals.error`,

    is at least the observed one: over all flips where they are no more than `resamples` (a cluster
    without difference has none), else (1 + share * resamples) / (1 + resamples).

    For models that are alike this is exact, for however few clusters. Where they differ, and only
    the mean of the differences is 0, skewed differences make it too bold while clusters are few: of
    exponential ones a level of 0.05 is 0.10 at 10 clusters, 0.07 at 30 and 0.05 at 100; where one
    prompt in twenty gains what the others lose together, it is 0.23 at 30 and 0.07 at 300.

    Dividing by v, anew in each flip, makes it right for many clusters also where the models differ
    in each stratum but not in the headline: flips of d alone then find too little. The bootstrap's
    own p-value, twice the share of resamples beyond 0, is too bold for models that are right nearly
    always: four of a hundred prompts that differ, all to one side, have p = 0.035 by it and
    2 / 2^4 = 0.125 in truth.

    Args:
        differences: after - before.
        headline: "tasks" or "items".
        resamples: how many flips.
        seed: of the flips.

    Raises:
        ValueError: an unknown headline.

    Source: Fisher, The Design of Experiments (1935), section 21; with t, as the wild cluster
    bootstrap: Cameron, Gelbach and Miller 2008, https://doi.org/10.1162/rest.90.3.414; with 1
    added: Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585.
    """
    (found,) = sign_flips([differences], headline, resamples=resamples, seed=seed)
    return found


def sign_flips(
    differences: Sequence[Totals], headline: Headline, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[float]:
    """The p-value of `sign_flip` of each of many differences, which share what they can.

    Args:
        differences: of pairs of models.
        headline: "tasks" or "items".
        resamples: how many flips of each.
        seed: of the flips.

    Raises:
        ValueError: an unknown headline.
    """
    # The flips are decided by how many clusters move; alike in memory are those of one place too.
    alike: dict[int, dict[tuple[int, bytes], list[int]]] = {}
    for index, one in enumerate(differences):
        moving = one.stratum[np.flatnonzero(one.sums)]
        group = alike.setdefault(moving.size, {})
        group.setdefault((len(one.names), moving.tobytes()), []).append(index)
    extreme = np.zeros(len(differences), np.int64)
    every = {size: 2**size <= resamples for size in alike}
    for size, groups in alike.items():
        flips = [
            _Flips([differences[index] for index in part], headline, part)
            for (strata, _), group in groups.items()
            for part in _parts(group, max(1, AT_ONCE // (resamples * strata)))
        ]
        rng = np.random.default_rng(seed)
        for block in _blocks(2**size if every[size] else resamples, size):
            if every[size]:
                signs = (np.arange(block.start, block.stop)[:, None] >> np.arange(size)) % 2
            else:
                signs = rng.integers(2, size=(block.stop - block.start, size), dtype=np.int8)
            flipped = signs * np.float64(2) - 1
            for of in flips:
                extreme[of.places] += of.extreme(flipped)
    found = []
    for one, count in zip(differences, extreme.tolist(), strict=True):
        size = int(np.count_nonzero(one.sums))
        found.append(count / 2**size if every[size] else (1 + count) / (1 + resamples))
    return found


@final
class _Flips:
    """Differences, P of them, whose clusters that differ, k, are of the same strata.

    Attributes:
        places: of the differences in a list of more, [P].
    """

    def __init__(self, group: Sequence[Totals], headline: Headline, places: list[int]) -> None:
        self.places = places
        self._over_strata = over_tasks(headline)
        moving = [np.flatnonzero(one.sums) for one in group]
        # Scaled, so that squares neither overflow nor vanish.
        scaled = [one.sums / (np.abs(one.sums).max() or 1.0) for one in group]

        def by_stratum(numbers: Sequence[Floats]) -> Floats:
            found = [one.by_stratum(of) for one, of in zip(group, numbers, strict=True)]
            return np.stack(found, -1)

        counts = [one.counts for one in group]
        self._items = by_stratum(counts)
        self._clusters = np.stack([one.sizes for one in group], -1)
        self._y_squares = by_stratum([y**2 for y in scaled])
        self._n_squares = by_stratum([n**2 for n in counts])
        self._y = np.stack([y[of] for y, of in zip(scaled, moving, strict=True)], -1)
        self._yn = np.stack(
            [(y * n)[of] for y, n, of in zip(scaled, counts, moving, strict=True)], -1
        )
        # Clusters are in the order of their strata.
        ends = np.searchsorted(group[0].stratum[moving[0]], np.arange(len(group[0].names) + 1))
        self._rows = [slice(a, b) for a, b in pairwise(ends)]
        # Flips as extreme as the observed one are as strong, whatever rounding makes of them.
        self._observed = self._strengths(np.ones((1, len(self._y)))) - 1e-9

    def extreme(self, signs: Floats) -> NDArray[np.intp]:
        """How many flips, [B, k] of 1 and -1, are as strong as the observed one, [P]."""
        return (self._strengths(signs) >= self._observed).sum(0)

    def _strengths(self, signs: Floats) -> Floats:
        """t^2 / (1 + t^2), which v = 0 leaves finite: [B, k] -> [B, P]."""
        sums, products = (
            np.stack([signs[:, rows] @ of[rows] for rows in self._rows], 1)  # [B, S, P]
            for of in (self._y, self._yn)
        )
        items, m = self._items, self._clusters
        if self._over_strata:
            mean, size = sums / items, items * len(items)
            d = mean.mean(1)
        else:
            total = items.sum(0)
            d, size = sums.sum(1) / total, total[None]
            mean = d[:, None]
        # The sum of (z - mean z)^2, multiplied out: only what a flip changes is computed anew.
        spread = self._y_squares - 2 * mean * products + mean**2 * self._n_squares
        spread -= (sums - mean * items) ** 2 / m
        v = (spread.clip(0) * (m / np.maximum(m - 1, 1) / size**2)).sum(1)
        return np.divide(d**2, d**2 + v, out=np.zeros_like(d), where=d != 0)


def _parts(places: list[int], length: int) -> Iterator[list[int]]:
    for start in range(0, len(places), length):
        yield places[start : start + length]


def _estimates(
    totals: Totals, headline: Headline, resamples: int, seed: int
) -> Stratified[Estimate]:
    parts = list(totals.split())
    rng = np.random.default_rng(seed)
    sums, counts = np.empty((2, resamples, len(parts)))
    for index, part in enumerate(parts):
        m = part.sums.size
        draws = max(m - 1, 1)
        for block in _blocks(resamples, draws):
            drawn = rng.integers(m, size=(block.stop - block.start, draws))
            sums[block, index] = part.sums[drawn].sum(1) * m / draws
            counts[block, index] = part.counts[drawn].sum(1) * m / draws

    means = [totals.headlines(sums, counts, headline), *totals.means(sums, counts).T]
    # The (R + 1) q-th of R: numpy's default is too narrow where R is small.
    lows, highs = np.quantile(means, (0.025, 0.975), axis=1, method="weibull")
    found = [
        Estimate(
            mean=of.mean(headline),
            interval=Interval(float(low), float(high)) if of.sizes.min() > 1 else None,
            items=int(of.counts.sum()),
            clusters=of.sums.size,
        )
        for of, low, high in zip([totals, *parts], lows, highs, strict=True)
    ]
    return Stratified(found[0], dict(zip(totals.names, found[1:], strict=True)))


def _detectable(differences: Totals, headline: Headline) -> float | None:
    error, clusters = differences.error(headline), differences.sums.size
    if not error or clusters < _FEWEST:
        return None
    return detectable_difference(error, clusters - len(differences.names))


def _blocks(resamples: int, width: int) -> Iterator[slice]:
    """Rows that are resampled at once, `width` numbers in each."""
    step = max(1, AT_ONCE // max(1, width))
    for start in range(0, resamples, step):
        yield slice(start, min(start + step, resamples))
