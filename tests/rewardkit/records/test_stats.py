import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardkit.records.stats import Interval, bootstrap_interval, describe, paired, win_rate

numbers = st.floats(-1e3, 1e3, width=32)
several = st.lists(numbers, min_size=2, max_size=30)


def test_a_summary_is_that_of_the_values():
    # mean 10/4; squared distances 2.25 + 0.25 + 0.25 + 2.25 = 5, over 4; median (2 + 3) / 2
    assert describe([4, 1, 3, 2]) == (2.5, math.sqrt(1.25), 1, 2.5, 4)
    assert describe([7]) == (7, 0, 7, 7, 7)
    with pytest.raises(ValueError, match="no values"):
        describe([])


def test_the_interval_of_two_values_is_both():
    # Resampled means of (0, 1): 0, 0.5, 1 with probability 1/4, 1/2, 1/4, so 2.5 % is 0.
    assert bootstrap_interval([0, 1]) == Interval(0, 1)
    # At 40 % coverage the quantiles 30 % and 70 % are both in the middle half.
    assert bootstrap_interval([0, 1], level=0.4) == Interval(0.5, 0.5)


def test_the_interval_of_many_values_is_the_normal_one():
    values = np.arange(1000) % 2  # mean 1/2, standard error sqrt(1/4 / 1000)
    low, high = bootstrap_interval(values)
    half = 1.959964 * math.sqrt(0.25 / 1000)
    assert low == pytest.approx(0.5 - half, abs=0.002)
    assert high == pytest.approx(0.5 + half, abs=0.002)


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_interval([0.25] * 7) == Interval(0.25, 0.25)
    assert bootstrap_interval([0.25] * 7, np.std) == Interval(0, 0)


def test_the_statistic_and_the_seed_are_used():
    values = [1, 2, 3, 50]
    # P(max <= 1) = 1/4^4 = 0.4 % and P(max <= 2) = 1/2^4 = 6 %, so 2.5 % is 2.
    assert bootstrap_interval(values, np.max) == Interval(2, 50)
    assert bootstrap_interval(values, lambda x: x.max()) == Interval(2, 50)  # without axis
    many = np.random.default_rng(1).normal(size=50)
    assert bootstrap_interval(many, seed=1) == bootstrap_interval(many, seed=1)
    assert bootstrap_interval(many, seed=1) != bootstrap_interval(many, seed=2)
    assert bootstrap_interval(many, resamples=100) != bootstrap_interval(many)


@given(several)
@settings(max_examples=30, deadline=None)
def test_the_interval_contains_the_mean(values):
    low, high = bootstrap_interval(values, resamples=500)
    slack = 1e-9 * max(map(abs, values))
    assert low - slack <= np.mean(values) <= high + slack


@given(several, numbers)
@settings(max_examples=30, deadline=None)
def test_the_interval_of_shifted_values_is_the_shifted_interval(values, shift):
    low, high = bootstrap_interval(values, resamples=200)
    moved = bootstrap_interval(np.asarray(values) + shift, resamples=200)
    assert moved == pytest.approx((low + shift, high + shift), abs=1e-9)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan], [1.0, math.inf], [[1.0, 2.0]]])
def test_values_without_an_interval_are_refused(values):
    with pytest.raises(ValueError, match=r"at least two|finite"):
        bootstrap_interval(values)


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_a_level_that_is_no_coverage_is_refused(level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval([0, 1], level=level)


def test_a_tie_is_half_a_win():
    assert win_rate([2, -1, 0, 5]) == 0.625  # (1 + 0 + 1/2 + 1) / 4
    with pytest.raises(ValueError, match="at least one"):
        win_rate([])


@given(st.lists(numbers, min_size=1))
def test_what_one_side_wins_the_other_loses(differences):
    assert win_rate(differences) == pytest.approx(1 - win_rate([-d for d in differences]))


def test_a_paired_comparison_is_of_the_differences():
    found = paired([1, 2, 3, 4], [2, 3, 4, 5])
    assert (found.n, found.mean_before, found.mean_after) == (4, 2.5, 3.5)
    # Every difference is 1, however far the items are apart: no width, and every pair won.
    assert (found.mean_difference, found.win_rate, found.interval) == (1, 1, Interval(1, 1))


def test_one_pair_has_no_interval():
    found = paired([1], [0.5])
    assert (found.n, found.mean_difference, found.win_rate, found.interval) == (1, -0.5, 0, None)


def test_scores_that_are_not_pairs_are_refused():
    with pytest.raises(ValueError, match="2 and 1 scores"):
        paired([1, 2], [1])
    with pytest.raises(ValueError, match="at least one"):
        paired([], [])
