import itertools
import math
import time
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rewardkit.stats.clusters import compare, estimate
from rewardkit.stats.flips import sign_flip
from rewardkit.stats.intervals import Interval
from rewardkit.stats.totals import Totals

HEADLINES = ("tasks", "items")
headlines = pytest.mark.parametrize("headline", HEADLINES)
numbers = st.floats(-100, 100, width=32)


@st.composite
def benchmarks(draw):
    """(before, after, clusters, strata) of 1 to 3 strata of 2 to 5 clusters of 1 to 3 items."""
    items = [
        (draw(numbers), draw(numbers), cluster, stratum)
        for stratum in draw(st.sampled_from(["a", "ab", "abc"]))
        for cluster in range(draw(st.integers(2, 5)))
        for _ in range(draw(st.integers(1, 3)))
    ]
    return tuple(np.array(column) for column in zip(*items, strict=True))


def flat(found):
    """Every number of a result, in one row."""

    def walk(part):
        for value in part.values() if isinstance(part, dict) else part:
            if isinstance(value, (tuple, dict)):
                yield from walk(value)
            else:
                yield math.nan if value is None else float(value)

    return np.array(list(walk(astuple(found))))


def assert_same(found, expected, atol=1e-7):
    np.testing.assert_allclose(flat(found), flat(expected), rtol=1e-7, atol=atol)


# By hand.


def test_the_headline_is_of_tasks_or_of_items():
    # Task a: 1, 1, 0 and 0 of one prompt, 1 of another: 3 / 5. Task b: 0 and 1: 1 / 2.
    values, clusters, strata = [1, 1, 0, 0, 1, 0, 1], [1, 1, 1, 1, 2, 1, 2], [*"aaaaabb"]
    found = estimate(values, clusters, strata, "tasks")
    assert found.headline.mean == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert (found.headline.items, found.headline.clusters) == (7, 4)
    a, b = found.strata["a"], found.strata["b"]
    assert (a.mean, a.items, a.clusters) == (pytest.approx(3 / 5), 5, 2)
    assert (b.mean, b.items, b.clusters) == (0.5, 2, 2)
    assert estimate(values, clusters, strata, "items").headline.mean == pytest.approx(4 / 7)


def test_the_ends_of_an_interval_are_resamples():
    # Of 39 the first and the last, which are ninths: nothing between two of them.
    for seed in range(5):
        values, strata = [0, 1] * 5, ["a"] * 10
        found = estimate(values, range(10), strata, "items", resamples=39, seed=seed).headline
        ninths = [end * 9 for end in found.interval]
        assert ninths == pytest.approx([round(end) for end in ninths], abs=1e-9)


def test_a_resample_is_of_whole_clusters_within_their_stratum():
    # One of two clusters is drawn from each stratum: means 0.5 or 1, and 0 or 0.25.
    values, clusters = [0, 1, 1, 1, 0, 0, 0, 0.5], [1, 1, 2, 2, 1, 1, 2, 2]
    found = estimate(values, clusters, [*"aaaabbbb"], "tasks")
    assert found.strata["a"].interval == Interval(0.5, 1)
    assert found.strata["b"].interval == Interval(0, 0.25)
    # Each of the four headlines in a quarter of the resamples.
    assert found.headline.interval == Interval(0.25, 0.625)


def test_a_stratum_weighs_in_a_resample_what_it_weighs_in_the_benchmark():
    # One of two clusters is drawn from a, five of six from b: 0 or 2 of 8, and not 0 or 1 of 6.
    found = estimate([0, 1, *[0] * 6], range(8), [*"aabbbbbb"], "items")
    assert found.headline.interval == Interval(0, 0.25)


def test_resamples_have_the_unbiased_variance():
    # Ten clusters of one 0 or 1 each: s^2 / 10 = (10 / 9) / 4 / 10, a standard error of 1 / 6.
    low, high = estimate([0, 1] * 5, range(10), ["a"] * 10, "items").headline.interval
    assert (low, high) == (pytest.approx(2 / 9), pytest.approx(7 / 9))  # of binomial(9, 1/2) / 9
    many = np.arange(1000) % 2
    low, high = estimate(many, range(1000), ["a"] * 1000, "items").headline.interval
    assert (high - low) / 2 == pytest.approx(1.959964 * math.sqrt(0.25 / 999), rel=0.05)


def test_pictures_of_a_prompt_are_not_independent():
    # The same 100 values as 100 prompts, and as 25 prompts of four equal pictures.
    values = np.repeat([0, 1], 50)[np.arange(100) * 51 % 100]
    alone = estimate(values, range(100), ["a"] * 100, "items").headline.interval
    fours = estimate(np.sort(values), np.arange(100) // 4, ["a"] * 100, "items").headline.interval
    assert (fours.high - fours.low) / (alone.high - alone.low) == pytest.approx(2, rel=0.1)


def test_a_comparison_by_hand():
    # Prompt means of after - before, task a: 1, 0; task b: -1/2, 1/2, 1, 0.
    before, after = [0, 0, 1, 1, 0, 0, 0, 1], [1, 0, 0, 1, 1, 0, 1, 1]
    clusters, strata = [1, 2, 1, 1, 2, 2, 3, 4], [*"aabbbbbb"]
    found = compare(before, after, clusters, strata, "tasks")
    headline = found.headline
    assert (headline.before, headline.after) == (pytest.approx(0.25), pytest.approx(7 / 12))
    assert headline.difference.mean == pytest.approx((1 / 2 + 1 / 6) / 2)
    assert (headline.wins, headline.losses, headline.ties, headline.win_rate) == (3, 1, 2, 4 / 6)
    a = found.strata["a"]
    assert (a.before, a.after, a.difference.mean) == (0, 0.5, 0.5)
    assert (a.wins, a.losses, a.ties, a.win_rate) == (1, 0, 1, 0.75)
    assert compare(before, after, clusters, strata, "items").headline.difference.mean == 0.25


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 1, 1, 1, 1, 1], 2 / 2**6),
        ([3, 2, 1, 1, 1, -1], 2 * 5 / 2**6),  # sums of 9, or 7 (any 1 is flipped), of either sign
        ([1, 1, 1, 1, 0, 0, 0, 0], 2 / 2**4),  # ties tell nothing
        ([1e-200] * 6, 2 / 2**6),
        ([1, -1], 1),
        ([0, 0], 1),
        ([5], 1),
    ],
)
def test_the_p_value_by_hand(differences, p):
    totals = Totals.of(differences, range(len(differences)), ["a"] * len(differences))
    assert sign_flip(totals, "items") == p


def test_four_prompts_of_a_hundred_are_not_significant():
    differences = np.arange(100) < 4
    totals = Totals.of(differences, range(100), ["a"] * 100)
    assert sign_flip(totals, "tasks") == 0.125
    # The bootstrap's interval lies to one side, or nearly: 2 * 0.96^99 = 0.035 of resamples.
    low, _ = estimate(differences, range(100), ["a"] * 100, "tasks").headline.interval
    assert low > 0


def test_what_is_detectable_is_about_three_standard_errors():
    # Differences of 0 and 1 in ten prompts: standard error 1 / 6; t(0.975; 9), t(0.8; 9).
    found = compare([0] * 10, [0, 1] * 5, range(10), ["a"] * 10, "tasks").headline
    assert found.detectable == pytest.approx((2.262157 + 0.883404) / 6, abs=1e-6)
    # Two strata of five, of variance 0.3 / 5 each; 8 degrees of freedom.
    found = compare([0] * 10, [0, 1] * 5, range(10), [*"aaaaabbbbb"], "tasks").headline
    assert found.detectable == pytest.approx((2.306004 + 0.888890) * math.sqrt(0.03), abs=1e-6)


# Against slow ones.


def slow_headline(clusters, headline):
    """Of {stratum: [(sum, count)]}."""
    if headline == "items":
        every = [cluster for own in clusters.values() for cluster in own]
        return sum(y for y, _ in every) / sum(n for _, n in every)
    return np.mean([sum(y for y, _ in own) / sum(n for _, n in own) for own in clusters.values()])


def slow_strength(clusters, headline):
    """d^2 / (d^2 + v), with v summed as it is written."""
    d, v = slow_headline(clusters, headline), 0.0
    items = sum(n for own in clusters.values() for _, n in own)
    for own in clusters.values():
        n_s, m = sum(n for _, n in own), len(own)
        if headline == "tasks":
            r = sum(y for y, _ in own) / n_s
            z = [(y - r * n) / (len(clusters) * n_s) for y, n in own]
        else:
            z = [(y - d * n) / items for y, n in own]
        v += m / (m - 1) * sum((mean - np.mean(z)) ** 2 for mean in z)
    return d**2 / (d**2 + v), math.sqrt(v)


def slow_clusters(values, clusters, strata):
    return {
        name: [
            (values[own & (clusters == cluster)].sum(), (own & (clusters == cluster)).sum())
            for cluster in np.unique(clusters[own])
        ]
        for name in np.unique(strata)
        for own in [strata == name]
    }


def small(seed, items=24):
    rng = np.random.default_rng(seed)
    strata = np.sort(rng.choice(list("ab"), items))
    return rng.normal(size=items).round(2), rng.integers(np.where(strata == "a", 5, 3)), strata


@headlines
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_interval_is_a_slow_bootstraps(headline, seed):
    values, clusters, strata = small(seed)
    groups = slow_clusters(values, clusters, strata)
    rng = np.random.default_rng(seed)
    resampled = []
    for _ in range(4000):
        drawn = {}
        for name, own in groups.items():
            m = len(own)
            picked = [own[i] for i in rng.integers(m, size=m - 1)]
            drawn[name] = [(y * m / (m - 1), n * m / (m - 1)) for y, n in picked]
        resampled.append(slow_headline(drawn, headline))
    found = estimate(values, clusters, strata, headline, resamples=20_000).headline
    assert found.mean == pytest.approx(slow_headline(groups, headline))
    # Other draws: quantiles of 4,000 have an error of about 4 % of a standard error.
    expected = np.quantile(resampled, (0.025, 0.975))
    assert found.interval == pytest.approx(expected, abs=0.15 * np.std(resampled))


@headlines
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_p_value_and_the_error_are_slow_ones(headline, seed):
    values, clusters, strata = small(seed)
    groups = slow_clusters(values, clusters, strata)
    observed, error = slow_strength(groups, headline)
    flips = [
        slow_strength(
            {
                name: [(sign * y, n) for sign, (y, n) in zip(signs, own, strict=True)]
                for (name, own), signs in zip(groups.items(), both, strict=True)
            },
            headline,
        )[0]
        for both in itertools.product(
            *(itertools.product([1, -1], repeat=len(own)) for own in groups.values())
        )
    ]
    totals = Totals.of(values, clusters, strata)
    assert totals.error(headline) == pytest.approx(error)
    expected = np.mean(np.array(flips) >= observed - 1e-12)
    assert sign_flip(totals, headline) == expected
    # Some of the flips, drawn: within four standard errors, and the observed one counted.
    drawn = sign_flip(totals, headline, resamples=len(flips) - 1)
    assert drawn == pytest.approx(expected, abs=4 * math.sqrt(0.25 / len(flips)))
    assert (drawn * len(flips)) % 1 == 0


# Whatever the values.


def test_the_order_of_items_does_not_matter_to_the_last_bit():
    # (0.1 + 0.2) + 0.3 is not 0.1 + (0.2 + 0.3).
    means = {
        estimate(values, [0, 0, 0], ["a"] * 3, "items", resamples=1).headline.mean
        for values in itertools.permutations([0.1, 0.2, 0.3])
    }
    assert len(means) == 1


@given(benchmarks(), st.sampled_from(HEADLINES), st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_order_of_rows_does_not_matter(benchmark, headline, random):
    before, after, clusters, strata = benchmark
    order = list(range(len(before)))
    random.shuffle(order)
    shuffled = [column[order] for column in benchmark]
    np.testing.assert_equal(
        flat(estimate(after[order], clusters[order], strata[order], headline, resamples=50)),
        flat(estimate(after, clusters, strata, headline, resamples=50)),
    )
    assert_same(
        compare(*shuffled, headline, resamples=50),
        compare(*benchmark, headline, resamples=50),
        atol=0,
    )


@given(benchmarks(), st.sampled_from(HEADLINES), numbers, st.floats(0.125, 8))
@settings(max_examples=25, deadline=None)
def test_intervals_are_shifted_and_scaled_with_the_values(benchmark, headline, shift, scale):
    _, values, clusters, strata = benchmark
    found = estimate(values, clusters, strata, headline, resamples=50)
    other = estimate(values * scale + shift, clusters, strata, headline, resamples=50)
    for before, after in [
        (found.headline, other.headline),
        *zip(found.strata.values(), other.strata.values(), strict=True),
    ]:
        assert after.mean == pytest.approx(before.mean * scale + shift, abs=1e-4)
        expected = [end * scale + shift for end in before.interval]
        assert after.interval == pytest.approx(expected, abs=1e-4)


@given(benchmarks(), st.sampled_from(HEADLINES))
@settings(max_examples=25, deadline=None)
def test_swapping_the_models_mirrors_everything(benchmark, headline):
    before, after, clusters, strata = benchmark
    found = compare(before, after, clusters, strata, headline, resamples=50)
    other = compare(after, before, clusters, strata, headline, resamples=50)
    for a, b in [
        (found.headline, other.headline),
        *zip(found.strata.values(), other.strata.values(), strict=True),
    ]:
        assert (a.before, a.after) == (b.after, b.before)
        assert a.difference.mean == pytest.approx(-b.difference.mean, abs=1e-9)
        low, high = b.difference.interval
        assert a.difference.interval == pytest.approx((-high, -low), abs=1e-9)
        assert a.p_value == b.p_value
        assert a.detectable == pytest.approx(b.detectable)
        assert (a.wins, a.losses, a.ties) == (b.losses, b.wins, b.ties)
        assert a.win_rate == pytest.approx(1 - b.win_rate)


@given(benchmarks(), st.sampled_from(HEADLINES))
@settings(max_examples=25, deadline=None)
def test_items_that_are_there_twice_tell_nothing_new(benchmark, headline):
    def numbers_of(columns):
        found = compare(*columns, headline, resamples=50)
        return [
            (
                part.before,
                part.after,
                part.difference.mean,
                *part.difference.interval,
                part.p_value,
                part.detectable or 0.0,
                part.win_rate,
            )
            for part in (found.headline, *found.strata.values())
        ]

    twice = [np.repeat(column, 2) for column in benchmark]
    np.testing.assert_allclose(numbers_of(twice), numbers_of(benchmark), rtol=1e-9, atol=1e-9)


@headlines
@given(st.lists(st.integers(-4, 4), min_size=3, max_size=8), st.sampled_from([0.1, 0.3, 7]))
@example([2, -2, 3, -4, 4], 0.1)
@settings(max_examples=25, deadline=None)
def test_a_p_value_has_no_unit_and_no_rounding(headline, differences, scale):
    # Of such numbers many flips have the same sum: 0.1 + 0.2 is as much as 0.3.
    names = range(len(differences)), [*"aab", *"b" * (len(differences) - 3)]
    p_value = sign_flip(Totals.of(differences, *names), headline)
    assert sign_flip(Totals.of(np.array(differences) * scale, *names), headline) == p_value
    assert 0 < p_value <= 1


@given(benchmarks(), st.sampled_from(HEADLINES))
@settings(max_examples=25, deadline=None)
def test_a_comparison_is_the_estimate_of_the_differences(benchmark, headline):
    before, after, clusters, strata = benchmark
    found = compare(before, after, clusters, strata, headline, resamples=50)
    expected = estimate(after - before, clusters, strata, headline, resamples=50)
    assert found.headline.difference == expected.headline
    assert {name: part.difference for name, part in found.strata.items()} == expected.strata


@given(benchmarks())
@settings(max_examples=25, deadline=None)
def test_with_one_stratum_the_headlines_are_one(benchmark):
    before, after, clusters, strata = benchmark
    own = strata == "a"
    one, other = (
        compare(before[own], after[own], clusters[own], strata[own], headline, resamples=50)
        for headline in HEADLINES
    )
    assert_same(one, other)
    assert one.headline.difference.interval == pytest.approx(one.strata["a"].difference.interval)


def test_the_seed_decides():
    values, clusters, strata = small(4)
    one, same, *others = (
        compare(values * 0, values, clusters, strata, "tasks", resamples=60, seed=seed)
        for seed in (1, 1, 2, 3, 4)
    )
    assert one == same
    headlines = [found.headline for found in (one, *others)]
    assert len({found.difference.interval for found in headlines}) > 1
    assert len({found.p_value for found in headlines}) > 1


# Little to go by.


@headlines
def test_one_item_has_a_mean_and_no_interval(headline):
    found = estimate([0.25], ["p"], ["a"], headline)
    assert (found.headline.mean, found.headline.interval) == (0.25, None)
    difference = compare([0], [1], ["p"], ["a"], headline).headline
    assert (difference.difference.interval, difference.p_value, difference.detectable) == (
        None,
        1,
        None,
    )


@headlines
def test_a_stratum_of_one_cluster_leaves_the_headline_without_interval(headline):
    found = compare([0] * 9, [0, 1] * 4 + [1], [*range(8), 0], [*"aaaaaaaab"], headline)
    assert found.strata["b"].difference.interval is None
    assert found.headline.difference.interval is None
    assert found.headline.detectable is None
    assert found.strata["a"].difference.interval.low < 0.5
    assert found.strata["a"].detectable > 0
    assert found.headline.p_value == 2 / 2**5  # of clusters that differ, all to one side


def test_strata_of_one_cluster_that_cancel_do_not_differ():
    found = compare([0, 0], [1, -1], [0, 0], [*"ab"], "tasks").headline
    assert (found.difference.mean, found.p_value) == (0, 1)


@headlines
@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, -1 / 3, 1e-200])
def test_equal_values_have_an_interval_of_no_width(headline, value):
    # Clusters of one to five items: 0.1 + 0.1 + 0.1 is not 3 * 0.1.
    clusters, strata = [2, 0, 1, 1, 2, 1, 1, 1, 1, 0, 2, 1, 0, 0, 1], [*"aaaaaaaaabbbbbb"]
    found = estimate([value] * 15, clusters, strata, headline)
    for part in (found.headline, *found.strata.values()):
        assert (part.mean, part.interval) == (value, Interval(value, value))
    assert Totals.of([value] * 15, clusters, strata).error(headline) == 0


@headlines
def test_a_difference_that_is_everywhere_the_same_tells_no_detectable_one(headline):
    strata = [*"aaaabbbb"]
    found = compare([0] * 8, [0.1] * 8, range(8), strata, headline).headline
    assert found.difference.interval == Interval(0.1, 0.1)
    assert (found.p_value, found.detectable) == (2 / 2**8, None)
    same = compare([0.1] * 8, [0.1] * 8, range(8), strata, headline).headline
    assert (same.p_value, same.detectable, same.win_rate) == (1, None, 0.5)


def test_of_five_clusters_nothing_is_significant():
    def found(n):
        return compare([0] * n, np.arange(n) + 5, range(n), ["a"] * n, "tasks").headline

    assert (found(5).p_value, found(5).detectable) == (0.0625, None)
    assert found(6).p_value < 0.05
    assert found(6).detectable > 0


@pytest.mark.parametrize(
    ("values", "clusters", "strata", "headline", "message"),
    [
        ([], [], [], "tasks", "no values given"),
        ([1, math.nan], [1, 2], ["a", "a"], "tasks", "finite numbers"),
        ([1, 2], [1], ["a", "a"], "tasks", r"2 values, clusters of shape \(1,\)"),
        ([1, 2], [1, 2], ["a"], "tasks", r"strata of shape \(1,\)"),
        ([1, 2], [0.5, 2], ["a", "a"], "tasks", "clusters are str or int"),
        ([1, 2], [1, 2], [None, "a"], "tasks", "strata are str"),
        ([1, 2], [1, 2], ["a", "a"], "prompts", "'prompts' given; accepted are 'tasks' and"),
    ],
)
def test_what_is_no_benchmark_is_refused(values, clusters, strata, headline, message):
    with pytest.raises(ValueError, match=message):
        estimate(values, clusters, strata, headline)
    with pytest.raises(ValueError, match=message):
        compare(values, values, clusters, strata, headline)


def test_values_that_are_not_pairs_are_refused():
    with pytest.raises(ValueError, match="2 and 1 values given"):
        compare([1, 2], [1], [1, 2], ["a", "a"], "tasks")


def test_a_name_means_one_cluster_in_each_stratum():
    found = estimate([0, 1, 0, 1], ["0", "1", "0", "1"], [*"aabb"], "items")
    assert found.headline.clusters == 4


# As large as they come.


def test_a_comparison_of_geneval_is_quick():
    rng = np.random.default_rng(0)
    before, after = rng.integers(2, size=(2, 2212))
    clusters = np.arange(2212) // 4
    strata = np.repeat([*"abcdef"], np.multiply([80, 99, 80, 94, 100, 100], 4))

    def seconds():
        start = time.process_time()
        compare(before, after, clusters, strata, "tasks")
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 0.5


def test_many_clusters_are_resampled_in_blocks(monkeypatch):
    values, clusters, strata = small(5)
    whole = compare(values * 0, values, clusters, strata, "tasks", resamples=64)
    monkeypatch.setattr("rewardkit.stats.intervals.AT_ONCE", 16)
    monkeypatch.setattr("rewardkit.stats.flips.AT_ONCE", 16)
    in_blocks = compare(values * 0, values, clusters, strata, "tasks", resamples=64)
    assert in_blocks.headline.difference == whole.headline.difference
    assert in_blocks.strata == whole.strata  # every flip of four or fewer clusters
