"""How sure a number is: bootstrap intervals, win rates, paired comparisons. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Each end of a 95 % interval then moves by about 0.2 percentage points of coverage with the seed.
RESAMPLES = 5000
# Resampled values held at once, 8 MB of them: 5000 resamples of 1e5 rows do not fit in memory.
AT_ONCE = 2**20


class Interval(NamedTuple):
    """A confidence interval, ends included."""

    low: float
    high: float


class Summary(NamedTuple):
    """What a column of scores looks like; std is the population's, so that of one score is 0."""

    mean: float
    std: float
    minimum: float
    median: float
    maximum: float


def describe(values: ArrayLike) -> Summary:
    """Mean, standard deviation, minimum, median and maximum of scores.

    Args:
        values: [n], n >= 1, finite.

    Raises:
        ValueError: no values, or one that is not finite.
    """
    sample = finite(values)
    if not sample.size:
        raise ValueError("no values given; a summary needs at least one")
    return Summary(*(float(f(sample)) for f in (np.mean, np.std, np.min, np.median, np.max)))


def bootstrap_interval(
    values: ArrayLike,
    statistic: Callable[..., Any] = np.mean,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The percentile bootstrap interval of a statistic of independent values.

    The quantiles (1 - level) / 2 and (1 + level) / 2 of the statistic over resamples of the n
    values with replacement. For few values (n below about 20) it is too narrow. Not the BCa
    interval: its correction recomputes the statistic without each value in turn, n^2 work, and is
    undefined where all values are equal; here such values give an interval of no width.

    Args:
        values: [n], n >= 2, finite.
        statistic: a function of an array; one that takes `axis` gets many resamples at once.
        level: coverage, between 0 and 1.
        resamples: how many.
        seed: the same seed draws the same positions for every input of the same n, so the interval
            of shifted values is the shifted interval.

    Raises:
        ValueError: fewer than two values, a value that is not finite, or a level outside (0, 1).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; computed by
    `scipy.stats.bootstrap`.
    """
    sample = finite(values)
    if sample.size < 2:
        raise ValueError(f"{sample.size} value(s) given; a bootstrap interval needs at least two")
    if not 0 < level < 1:
        raise ValueError(f"level {level} given; it lies between 0 and 1, both excluded")
    from scipy.stats import bootstrap  # half a second that win_rate does not need

    result = bootstrap(
        (sample,),
        statistic,
        n_resamples=resamples,
        batch=max(1, AT_ONCE // sample.size),
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(low), float(high))


def win_rate(differences: ArrayLike) -> float:
    """The share of differences above zero, those that are zero counting half.

    win_rate(-d) = 1 - win_rate(d).

    Args:
        differences: [n], n >= 1, finite: after - before.

    Raises:
        ValueError: no differences, or one that is not finite.
    """
    sample = finite(differences)
    if not sample.size:
        raise ValueError("no differences given; a win rate needs at least one")
    return float(np.mean((np.sign(sample) + 1) / 2))


@dataclass(frozen=True)
class PairedComparison:
    """What changed between two scores of the same items.

    Attributes:
        n: how many pairs.
        mean_before: mean of the first scores.
        mean_after: mean of the second scores.
        mean_difference: mean of after - before.
        win_rate: share of pairs where after is the higher one, ties counting half.
        interval: 95 % bootstrap interval of the mean difference; None for one pair.
    """

    n: int
    mean_before: float
    mean_after: float
    mean_difference: float
    win_rate: float
    interval: Interval | None


def paired(before: ArrayLike, after: ArrayLike) -> PairedComparison:
    """Compares two scores of the same items, pair by pair.

    The differences are resampled, not the two sides: what items have in common cancels.

    Args:
        before: [n], n >= 1, finite.
        after: [n], in the same order.

    Raises:
        ValueError: the lengths differ, there is no pair, or a score is not finite.
    """
    first, second = finite(before), finite(after)
    if first.size != second.size:
        raise ValueError(f"{first.size} and {second.size} scores given; pairs need as many of each")
    differences = second - first
    wins = win_rate(differences)
    return PairedComparison(
        n=differences.size,
        mean_before=float(first.mean()),
        mean_after=float(second.mean()),
        mean_difference=float(differences.mean()),
        win_rate=wins,
        interval=bootstrap_interval(differences) if differences.size > 1 else None,
    )


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """The values as one row of float64, [n].

    Raises:
        ValueError: they are no row, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"values of shape {array.shape}; accepted is one row of finite numbers")
    return array
