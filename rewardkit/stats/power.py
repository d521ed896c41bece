"""Power: the smallest true difference that a comparison detects.

Where two models are not separable, it says what the sample could have shown: with this n,
differences below X cannot be detected.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from rewardkit.stats.intervals import finite
from rewardkit.stats.totals import Headline, over_tasks


def detectable_difference(
    standard_error: float, degrees: int, *, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The minimum detectable difference: the smallest true one that a comparison detects.

    (t(1 - alpha / 2) + t(power)) * standard error, with quantiles of Student's t: about 2.8
    standard errors. A true difference of this size is significant with probability `power`.

    Args:
        standard_error: the standard error of the mean difference.
        degrees: degrees of freedom: clusters minus strata, at least 1.
        alpha: the significance level, two-sided.
        power: the probability of detecting it.

    Raises:
        ValueError: a number outside its range.

    Source: Bloom 1995, https://doi.org/10.1177/0193841X9501900504.
    """
    if not (0 <= standard_error < math.inf and degrees >= 1 and 0 < alpha < power < 1):
        raise ValueError(
            f"standard error {standard_error}, degrees {degrees}, alpha {alpha}, power {power} "
            "given; accepted is a finite error of 0 or more, degrees of 1 or more, and "
            "0 < alpha < power < 1"
        )
    from scipy.special import stdtrit

    return float((stdtrit(degrees, 1 - alpha / 2) + stdtrit(degrees, power)) * standard_error)


def planned_error(
    rates: ArrayLike,
    clusters: ArrayLike,
    items: int,
    headline: Headline,
    *,
    icc: float,
    correlation: float = 0.0,
) -> float:
    """The standard error of a future comparison of models whose items are right or wrong.

    In a stratum of m clusters of k items each, the mean of one model has the variance
    p (1 - p) / (m k) * (1 + (k - 1) icc), the difference of two models 2 (1 - correlation) times
    that. `detectable_difference` takes it to plan a measurement.

    Args:
        rates: p of each stratum, [S], in [0, 1].
        clusters: m of each stratum, [S], 1 or more.
        items: k.
        headline: "tasks" or "items".
        icc: the correlation of two items of one cluster, in [0, 1]; GenEval's are 0 to 0.6.
        correlation: of the two models' means over a cluster, in [-1, 1]; 0 is cautious.

    Raises:
        ValueError: a number outside its range, or not as many rates as numbers of clusters.

    Source: the design effect, Kish, Survey Sampling (1965), section 5.4.
    """
    p, m = finite(rates), finite(clusters)
    if p.shape != m.shape or not p.size:
        raise ValueError(
            f"{p.size} rates and {m.size} numbers of clusters given; each stratum has one of each"
        )
    if not (((p >= 0) & (p <= 1)).all() and (m >= 1).all() and items >= 1):
        raise ValueError(
            f"rates {p}, clusters {m}, items {items} given; rates are in [0, 1], the others 1 or "
            "more"
        )
    if not (0 <= icc <= 1 and -1 <= correlation <= 1):
        raise ValueError(
            f"icc {icc} and correlation {correlation} given; they are in [0, 1] and [-1, 1]"
        )
    variances = p * (1 - p) / (m * items) * (1 + (items - 1) * icc) * 2 * (1 - correlation)
    weights = np.full(p.size, 1 / p.size) if over_tasks(headline) else m / m.sum()
    return math.sqrt((weights**2 * variances).sum())
