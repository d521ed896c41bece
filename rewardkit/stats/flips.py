"""The p-value of no difference, by flipping the signs of whole clusters. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import final

import numpy as np
from numpy.typing import NDArray

from rewardkit.stats.intervals import AT_ONCE, RESAMPLES, blocks
from rewardkit.stats.totals import Floats, Headline, Totals, over_tasks


def sign_flip(
    differences: Totals, headline: Headline, *, resamples: int = RESAMPLES, seed: int = 0
) -> float:
    """The p-value of no difference: two-sided, by flipping the signs of whole clusters.

    If the models are alike, which one is called the first is chance in each cluster, so that its
    difference could as well have had the other sign. p is the share of such flips whose statistic

        t^2 = d^2 / v,  d: the headline of the differences,  v: its variance, as in `Totals.error`,

    is at least the observed one. All flips are made if there are at most `resamples` of them (a
    cluster without a difference needs none); otherwise p = (1 + extreme flips) / (1 + resamples).

    For models that are alike this is exact, however few the clusters. Where they differ and only
    the mean of the differences is 0, skewed differences give too small p-values while clusters are
    few: with exponential differences a level of 0.05 is in truth 0.10 at 10 clusters, 0.07 at 30
    and 0.05 at 100; where one prompt in twenty gains what all others lose together, it is 0.23 at
    30 clusters and 0.07 at 300.

    Dividing by v, computed anew for each flip, makes the test valid for many clusters also where
    the models differ in each stratum but not in the headline: flips of d alone then have too little
    power. The bootstrap's own p-value, twice the share of resamples beyond 0, is too small for
    models that are nearly always right: if four prompts of a hundred differ, all to one side, it is
    0.035, and the exact one is 2 / 2^4 = 0.125.

    Args:
        differences: after - before.
        headline: "tasks" or "items".
        resamples: the largest number of flips.
        seed: random seed of the flips.

    Raises:
        ValueError: an unknown headline.

    Source: Fisher, The Design of Experiments (1935), section 21; with t, as the wild cluster
    bootstrap: Cameron, Gelbach and Miller 2008, https://doi.org/10.1162/rest.90.3.414; with 1
    added: Phipson and Smyth 2010, https://doi.org/10.2202/1544-6115.1585.
    """
    (p_value,) = sign_flips([differences], headline, resamples=resamples, seed=seed)
    return p_value


def sign_flips(
    differences: Sequence[Totals], headline: Headline, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[float]:
    """The p-value of `sign_flip` of each of many differences, which share the flips they can.

    Args:
        differences: after - before, for each pair of models.
        headline: "tasks" or "items".
        resamples: the largest number of flips of each.
        seed: random seed of the flips.

    Raises:
        ValueError: an unknown headline.
    """
    p_values = [0.0] * len(differences)
    sizes = [int(np.count_nonzero(totals.sums)) for totals in differences]
    for size in dict.fromkeys(sizes):
        same_size = [index for index, other in enumerate(sizes) if other == size]
        groups = list(_groups(differences, same_size, resamples))
        statistics = [_Statistic([differences[i] for i in group], headline) for group in groups]
        counts = [np.zeros(len(group), np.int64) for group in groups]
        for signs in _flips(size, resamples, seed):
            for count, statistic in zip(counts, statistics, strict=True):
                count += statistic.extreme(signs)
        for group, count in zip(groups, counts, strict=True):
            for index, extreme in zip(group, count.tolist(), strict=True):
                p_values[index] = (
                    extreme / 2**size
                    if _is_exact(size, resamples)
                    else (1 + extreme) / (1 + resamples)
                )
    return p_values


def _is_exact(size: int, resamples: int) -> bool:
    """Whether all flips of `size` clusters are made, and not a sample of them."""
    return 2**size <= resamples


def _flips(size: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Signs, 1 or -1, of `size` clusters, in blocks of flips, [B, size]."""
    every = _is_exact(size, resamples)
    rng = np.random.default_rng(seed)
    for block in blocks(2**size if every else resamples, size):
        if every:
            bits = (np.arange(block.start, block.stop)[:, None] >> np.arange(size)) % 2
        else:
            bits = rng.integers(2, size=(block.stop - block.start, size), dtype=np.int8)
        yield bits * np.float64(2) - 1


def _groups(
    differences: Sequence[Totals], indices: Sequence[int], resamples: int
) -> Iterator[list[int]]:
    """Indices of differences that are computed at once: the clusters that differ are of one layout.

    Args:
        differences: all of them.
        indices: those in which equally many clusters differ.
        resamples: how many flips of each; it decides how many fit in memory.
    """
    layouts: dict[tuple[int, bytes], list[int]] = {}
    for index in indices:
        totals = differences[index]
        stratum = totals.stratum[np.flatnonzero(totals.sums)]
        layouts.setdefault((len(totals.names), stratum.tobytes()), []).append(index)
    for (strata, _), group in layouts.items():
        length = max(1, AT_ONCE // (resamples * strata))
        for start in range(0, len(group), length):
            yield group[start : start + length]


@final
class _Statistic:
    """t^2 of P differences under flips; see `sign_flip`.

    The k clusters that differ lie in the same strata in each of them. With y_c and n_c as in
    `totals`, r the mean of a stratum (or of all), N its items, m its clusters:

        v = sum of m / (m - 1) / N^2 * (sum (y_c - r n_c)^2 - (sum (y_c - r n_c))^2 / m)

    A flip changes the signs of y_c. So sum y_c^2 and sum n_c^2 stay as they are, and only sum y_c
    and sum y_c n_c are computed for each flip.
    """

    def __init__(self, differences: Sequence[Totals], headline: Headline) -> None:
        self._over_strata = over_tasks(headline)
        counts = [totals.counts for totals in differences]
        # Scaled, so that squares neither overflow nor vanish.
        scaled = [totals.sums / (np.abs(totals.sums).max() or 1.0) for totals in differences]
        differing = [np.flatnonzero(totals.sums) for totals in differences]

        def by_stratum(values: Sequence[Floats]) -> Floats:  # [S, P]
            pairs = zip(differences, values, strict=True)
            return np.stack([totals.by_stratum(value) for totals, value in pairs], -1)

        def of_differing(values: Sequence[Floats]) -> Floats:  # [k, P]
            pairs = zip(values, differing, strict=True)
            return np.stack([value[places] for value, places in pairs], -1)

        self._items = by_stratum(counts)
        self._clusters = np.stack([totals.sizes for totals in differences], -1)
        self._y_squares = by_stratum([y**2 for y in scaled])
        self._n_squares = by_stratum([n**2 for n in counts])
        self._y = of_differing(scaled)
        self._yn = of_differing([y * n for y, n in zip(scaled, counts, strict=True)])
        # Clusters are in the order of their strata.
        first = differences[0]
        ends = np.searchsorted(first.stratum[differing[0]], np.arange(len(first.names) + 1))
        self._rows = [slice(start, end) for start, end in pairwise(ends)]
        # Flips as extreme as the observed one are as strong, whatever rounding makes of them.
        self._observed = self._strengths(np.ones((1, len(self._y)))) - 1e-9

    def extreme(self, signs: Floats) -> NDArray[np.intp]:
        """How many flips, [B, k] of 1 and -1, are at least as strong as the observed one, [P]."""
        return (self._strengths(signs) >= self._observed).sum(0)

    def _strengths(self, signs: Floats) -> Floats:
        """t^2 / (1 + t^2), which v = 0 leaves finite: [B, k] -> [B, P]."""
        sums, products = (  # [B, S, P]
            np.stack([signs[:, rows] @ values[rows] for rows in self._rows], 1)
            for values in (self._y, self._yn)
        )
        items, m = self._items, self._clusters
        if self._over_strata:
            mean, size = sums / items, items * len(items)
            d = mean.mean(1)
        else:
            total = items.sum(0)
            d, size = sums.sum(1) / total, total[None]
            mean = d[:, None]
        # The sum of (y - r n)^2, multiplied out.
        spread = self._y_squares - 2 * mean * products + mean**2 * self._n_squares
        spread -= (sums - mean * items) ** 2 / m
        v = (spread.clip(0) * (m / np.maximum(m - 1, 1) / size**2)).sum(1)
        return np.divide(d**2, d**2 + v, out=np.zeros_like(d), where=d != 0)
