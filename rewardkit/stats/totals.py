"""Values of a benchmark, summed by prompt and task, from which means and their errors are computed.

A benchmark has items (pictures or clips); each has a cluster (its prompt) and a stratum (its task).
Items of one prompt tend to be right or wrong together, and a benchmark makes a claim about prompts
like these, not only about these. So what varies at random is the cluster, with all its items; the
number of clusters in a stratum is fixed.

With sum y_c and count n_c of the items of cluster c, the mean of stratum s is
r_s = sum of y_c / sum of n_c over its clusters. The headline is the mean of the r_s ("tasks": as
GenEval) or the mean over all items ("items": as the HPS benchmark).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardkit.stats.intervals import finite

Headline = Literal["tasks", "items"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grouping:
    """The cluster and the stratum of each item: computed once for many values of the same items.

    Attributes:
        names: names of the strata, [S].
        cluster: cluster of each item, numbered in the order of stratum and name, [n].
        stratum: stratum of each cluster, an index of names, [C].
    """

    names: list[str]
    cluster: NDArray[np.intp]
    stratum: NDArray[np.intp]

    @classmethod
    def of(cls, clusters: ArrayLike, strata: ArrayLike) -> Grouping:
        """The grouping by names of clusters (str or int) and of strata (str), one per item, [n]."""
        names, stratum = np.unique(np.asarray(strata), return_inverse=True)
        labels, label = np.unique(np.asarray(clusters), return_inverse=True)
        pairs, cluster = np.unique(stratum * labels.size + label, return_inverse=True)
        return cls([str(name) for name in names], cluster, pairs // labels.size)

    def totals(self, values: ArrayLike) -> Totals:
        """The sums of values, [n], finite."""
        sample = finite(values)
        # Sorted by value: the order of summation decides the last bit, and rows come in any order.
        sample = sample[np.lexsort((sample, self.cluster))]
        counts = np.bincount(self.cluster)
        starts = np.cumsum(counts) - counts
        edges = starts[np.flatnonzero(np.diff(self.stratum, prepend=-1))]
        return Totals(
            names=self.names,
            stratum=self.stratum,
            sums=np.add.reduceat(sample, starts),
            counts=counts.astype(np.float64),
            least=np.minimum.reduceat(sample, edges),
            greatest=np.maximum.reduceat(sample, edges),
        )


@dataclass(frozen=True)
class Totals:
    """Sums over the items of each cluster, in the order of stratum and name.

    Attributes:
        names: names of the strata, [S].
        stratum: stratum of each cluster, an index of names, [C].
        sums: y_c, [C].
        counts: n_c, [C].
        least: the lowest value in each stratum, [S].
        greatest: the highest, [S].
    """

    names: list[str]
    stratum: NDArray[np.intp]
    sums: Floats
    counts: Floats
    least: Floats
    greatest: Floats

    @classmethod
    def of(cls, values: ArrayLike, clusters: ArrayLike, strata: ArrayLike) -> Totals:
        """The sums over the clusters of items.

        Args:
            values: [n], n >= 1, finite.
            clusters: [n], the names (str or int) of the items' clusters. The same name in two
                strata is two clusters.
            strata: [n], the names (str) of the items' strata.

        Raises:
            ValueError: no values, one that is not finite, or not one name of each kind for each.
        """
        sample, labels, tasks = finite(values), np.asarray(clusters), np.asarray(strata)
        if not sample.size:
            raise ValueError("no values given; a mean needs at least one")
        if not sample.shape == labels.shape == tasks.shape:
            raise ValueError(
                f"{sample.size} values, clusters of shape {labels.shape} and strata of shape "
                f"{tasks.shape} given; each value has one of each"
            )
        if labels.dtype.kind not in "iuU" or tasks.dtype.kind != "U":
            raise ValueError(
                f"clusters of type {labels.dtype} and strata of type {tasks.dtype} given; clusters "
                "are str or int, strata are str"
            )
        return Grouping.of(labels, tasks).totals(sample)

    def split(self) -> Iterator[Totals]:
        """Each stratum by itself."""
        for index, name in enumerate(self.names):
            own, this = self.stratum == index, slice(index, index + 1)
            yield Totals(
                names=[name],
                stratum=np.zeros(own.sum(), np.intp),
                sums=self.sums[own],
                counts=self.counts[own],
                least=self.least[this],
                greatest=self.greatest[this],
            )

    def by_stratum(self, numbers: Floats) -> Floats:
        """Sums over the clusters of each stratum, [C] -> [S]."""
        return np.bincount(self.stratum, numbers, len(self.names)).astype(np.float64)

    @property
    def sizes(self) -> Floats:
        """The number of clusters in each stratum, m, [S]."""
        return self.by_stratum(np.ones_like(self.sums))

    def means(self, sums: Floats, counts: Floats) -> Floats:
        """r_s, [..., S], clipped to the range of the values, which rounding could leave."""
        return np.clip(sums / counts, self.least, self.greatest)

    def headlines(self, sums: Floats, counts: Floats, headline: Headline) -> Floats:
        """The headline of sums and counts by stratum, [..., S] -> [...]."""
        if over_tasks(headline):
            means = self.means(sums, counts).mean(-1)
        else:
            means = sums.sum(-1) / counts.sum(-1)
        return np.clip(means, self.least.min(), self.greatest.max())

    def mean(self, headline: Headline) -> float:
        """The headline."""
        sums, counts = self.by_stratum(self.sums), self.by_stratum(self.counts)
        return float(self.headlines(sums, counts, headline))

    def error(self, headline: Headline) -> float | None:
        """The standard error of the headline; None where a stratum has only one cluster.

        The root of v = sum over strata of m / (m - 1) sum over clusters of (z_c - mean z)^2, where
        z_c = (y_c - r_s n_c) / (S N_s) for the mean over S strata, N_s items in each, and
        z_c = (y_c - r n_c) / N for the mean r over all N items.

        Source: the linearised variance of a ratio, Cochran, Sampling Techniques (1977), section
        6.13; Cameron and Miller 2015, https://doi.org/10.3368/jhr.50.2.317.
        """
        m = self.sizes
        if m.min() < 2:
            return None
        sums, counts = self.by_stratum(self.sums), self.by_stratum(self.counts)
        if over_tasks(headline):
            mean, size = self.means(sums, counts), counts * m.size
        else:
            mean, size = np.full(m.size, self.mean(headline)), np.full(m.size, counts.sum())
        z = self.sums - mean[self.stratum] * self.counts
        z -= (self.by_stratum(z) / m)[self.stratum]
        error = math.sqrt((self.by_stratum(z**2) * m / (m - 1) / size**2).sum())
        rounding = 1e-14 * np.abs([self.least, self.greatest]).max()
        return error if error > rounding else 0.0


def contributions(
    values: ArrayLike,
    items: ArrayLike,
    parts: ArrayLike,
    *,
    weights: ArrayLike,
    lows: ArrayLike,
    highs: ArrayLike,
) -> Floats:
    """Numbers of items, [N], whose mean is a total of normalised means: what can be resampled.

    The total of parts with weights w_k, of which r_k is the mean of the part's values, is

        sum of w_k (r_k - low_k) / (high_k - low_k)  /  sum of w_k,

    and an item contributes, with x_ik its value for part k and n_k the number of such values,

        N * sum of w_k (x_ik - low_k) / (high_k - low_k) / n_k  /  sum of w_k.

    One item may serve several parts; its contribution keeps them together when it is resampled.
    With items of the same parts as strata, n_k does not vary between resamples where every value is
    there, and the mean of resampled contributions is the total of the resample.

    Args:
        values: [n], n >= 1, finite.
        items: [n], the index of each value's item, 0 <= index < N.
        parts: [n], the index of each value's part, 0 <= index < K.
        weights: w_k, [K]. Parts without a value do not count.
        lows: [K].
        highs: [K].
    """
    sample, item, part = finite(values), np.asarray(items), np.asarray(parts)
    low, high = np.asarray(lows, float), np.asarray(highs, float)
    counts = np.bincount(part, minlength=low.size)
    weight = np.where(counts > 0, np.asarray(weights, float), 0.0)
    scale = weight / weight.sum() / (high - low)
    number = int(item.max()) + 1
    terms = scale[part] * (sample - low[part]) * (number / counts[part])
    return np.bincount(item, terms, number).astype(np.float64)


def over_tasks(headline: Headline) -> bool:
    """Whether each stratum has the same weight, and not each item.

    Raises:
        ValueError: an unknown headline.
    """
    if headline not in ("tasks", "items"):
        raise ValueError(f"headline {headline!r} given; accepted are 'tasks' and 'items'")
    return headline == "tasks"
