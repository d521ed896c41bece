import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.stats.intervals import describe, win_rate

numbers = st.floats(-1e3, 1e3, width=32)


def test_a_summary_is_that_of_the_values():
    # mean 10/4; squared distances 2.25 + 0.25 + 0.25 + 2.25 = 5, over 4; median (2 + 3) / 2
    assert describe([4, 1, 3, 2]) == (2.5, math.sqrt(1.25), 1, 2.5, 4)
    assert describe([7]) == (7, 0, 7, 7, 7)
    with pytest.raises(ValueError, match="no values"):
        describe([])


@pytest.mark.parametrize("values", [[1.0, math.nan], [1.0, math.inf], [[1.0, 2.0]]])
def test_what_is_no_row_of_finite_numbers_is_refused(values):
    for function in (describe, win_rate):
        with pytest.raises(ValueError, match="finite"):
            function(values)


def test_a_tie_is_half_a_win():
    assert win_rate([2, -1, 0, 5]) == 0.625  # (1 + 0 + 1/2 + 1) / 4
    with pytest.raises(ValueError, match="at least one"):
        win_rate([])


@given(st.lists(numbers, min_size=1))
def test_what_one_side_wins_the_other_loses(differences):
    assert win_rate(differences) == pytest.approx(1 - win_rate([-d for d in differences]))
