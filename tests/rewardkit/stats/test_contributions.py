"""A total of normalised means is the mean of what items contribute to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.stats.totals import contributions


@st.composite
def values(draw):
    """(value, item, part) of 1 to 6 items that serve some of 3 parts, and weights and ranges."""
    cells = [
        (draw(st.floats(-100, 100)), item, part)
        for item in range(draw(st.integers(1, 6)))
        for part in draw(st.sets(st.integers(0, 2), min_size=1))
    ]
    weights = draw(st.lists(st.floats(0.1, 10), min_size=3, max_size=3))
    lows = draw(st.lists(st.floats(-10, 0), min_size=3, max_size=3))
    highs = draw(st.lists(st.floats(1, 10), min_size=3, max_size=3))
    return cells, weights, lows, highs


@given(values())
def test_their_mean_is_the_total(table):
    cells, weights, lows, highs = table
    means = {}
    for part in range(3):
        own = [value for value, _, other in cells if other == part]
        if own:
            means[part] = (np.mean(own) - lows[part]) / (highs[part] - lows[part])
    total = sum(weights[k] * mean for k, mean in means.items()) / sum(weights[k] for k in means)
    found = contributions(*zip(*cells, strict=True), weights=weights, lows=lows, highs=highs)
    assert found.size == 1 + max(item for _, item, _ in cells)
    assert found.mean() == pytest.approx(total, rel=1e-9, abs=1e-9)


def test_items_of_one_plain_part_contribute_their_values():
    sample = np.random.default_rng(0).normal(size=20)
    found = contributions(sample, range(20), [0] * 20, weights=[3], lows=[0], highs=[1])
    assert (found == sample).all()
