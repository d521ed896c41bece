import math

import pytest

from rewardkit.stats.power import detectable_difference, planned_error


def test_a_detectable_difference_by_hand():
    # Normal quantiles 1.959964 and 0.841621; t of 9 degrees: 2.262157 and 0.883404.
    assert detectable_difference(0.01, 10**9) == pytest.approx(0.02801585, abs=1e-7)
    assert detectable_difference(0.01, 9) == pytest.approx(0.03145561, abs=1e-7)
    # 2.575829 and 1.281552.
    found = detectable_difference(1.0, 10**9, alpha=0.01, power=0.9)
    assert found == pytest.approx(3.857381, abs=1e-5)
    assert detectable_difference(0.0, 5) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"standard_error": -1.0},
        {"standard_error": math.nan},
        {"standard_error": math.inf},
        {"degrees": 0},
        {"alpha": 0.0},
        {"power": 1.0},
        {"power": 0.04},
    ],
)
def test_a_detectable_difference_of_nothing_is_refused(change):
    with pytest.raises(ValueError, match=r"given; accepted is a finite error"):
        detectable_difference(**{"standard_error": 0.01, "degrees": 9, **change})


def test_a_planned_error_by_hand():
    # 0.25 / 100 and 0.09 / 25 per model, twice that of the difference.
    assert planned_error([0.5, 0.1], [25, 25], 1, "tasks", icc=0.5) == pytest.approx(
        math.sqrt((2 * 0.25 / 25 + 2 * 0.09 / 25) / 4)
    )
    # Four pictures of a prompt with correlation 1/3 are worth two, with 1 one, with 0 four.
    for icc, worth in [(1 / 3, 2), (1, 1), (0, 4)]:
        found = planned_error([0.5], [100], 4, "tasks", icc=icc)
        assert found == pytest.approx(math.sqrt(2 * 0.25 / (100 * worth)))
    # Of items, strata of 75 and 25 prompts weigh 3/4 and 1/4.
    found = planned_error([0.5, 0.1], [75, 25], 1, "items", icc=0)
    assert found == pytest.approx(math.sqrt(2 * (0.75**2 * 0.25 / 75 + 0.25**2 * 0.09 / 25)))


def test_models_that_agree_differ_less():
    errors = [planned_error([0.5], [50], 4, "tasks", icc=0.2, correlation=c) for c in (0, 0.75, 1)]
    assert errors[1] == pytest.approx(errors[0] / 2)
    assert errors[2] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": [1.5]}, "rates are in"),
        ({"clusters": [0]}, "the others 1 or more"),
        ({"items": 0}, "the others 1 or more"),
        ({"clusters": [1, 2]}, "1 rates and 2 numbers of clusters"),
        ({"rates": [], "clusters": []}, "0 rates and 0"),
        ({"icc": 1.5}, "icc 1.5"),
        ({"icc": math.nan}, "icc nan"),
        ({"correlation": -2}, "correlation -2"),
        ({"headline": "all"}, "headline 'all' given"),
    ],
)
def test_a_plan_that_is_none_is_refused(change, message):
    plan = {"rates": [0.5], "clusters": [10], "items": 4, "headline": "tasks", "icc": 0.3}
    with pytest.raises(ValueError, match=message):
        planned_error(**{**plan, **change})
