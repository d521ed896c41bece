"""Who is better: verdicts of pairs, ranges of ranks, standings across boards."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboards.board import Ranks
from leaderboards.rank import LEVEL, Verdicts, compare, standings
from rewardkit.stats.clusters import compare as compare_items
from rewardkit.stats.flips import sign_flips
from rewardkit.stats.totals import Totals

TASKS = ("colors", "counting")


def scores(means, seed=0, prompts=12, samples=2):
    """Scores of models by picture: what prompts have in common, and noise of each."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=prompts)
    found = {}
    for model, mean in means.items():
        values = {}
        for index in range(prompts):
            task = TASKS[index % 2]
            for sample in range(samples):
                noise = rng.normal(scale=0.5)
                values[f"{task}/{index:05d}-{sample:02d}"] = mean + common[index] + noise
        found[model] = values
    return found


def test_a_verdict_is_what_bench_compare_prints():
    found = scores({"one": 0.0, "two": 0.3}, prompts=20)
    ids = list(found["one"])
    result = compare_items(
        [found["two"][id] for id in ids],
        [found["one"][id] for id in ids],
        [int(id[-8:-3]) for id in ids],
        [id.partition("/")[0] for id in ids],
        "tasks",
    ).headline
    verdict = compare(found["one"], found["two"], "tasks")
    assert verdict.p_value == result.p_value
    assert verdict.difference == pytest.approx(result.difference.mean)
    assert verdict.win_rate == result.win_rate


def test_clearly_better_models_have_ranks_of_their_own_and_equal_ones_share_a_range():
    found = scores({"best": 3.0, "same": 1.0, "also": 1.0, "worst": -2.0}, prompts=20)
    ranks = Verdicts(found, "tasks").ranks(list(found))
    assert ranks["best"] == Ranks(1, 1)
    assert ranks["same"] == ranks["also"] == Ranks(2, 3)
    assert ranks["worst"] == Ranks(4, 4)
    assert (str(ranks["best"]), str(ranks["same"])) == ("1", "2\u20133")


def test_a_difference_that_few_prompts_cannot_show_makes_no_rank():
    # Of five prompts even five wins of five have p = 2 / 2^5 > 0.05.
    found = scores({"high": 100.0, "low": 0.0}, prompts=5)
    assert Verdicts(found, "items").ranks(list(found)) == {"high": (1, 2), "low": (1, 2)}


@pytest.mark.parametrize("p_value", [LEVEL, LEVEL - 1e-9])
def test_the_level_is_five_in_a_hundred(p_value, monkeypatch):
    monkeypatch.setattr("rewardkit.stats.flips.sign_flips", lambda *_: [p_value])
    found = scores({"high": 1.0, "low": 0.0})
    better = compare(found["high"], found["low"], "items").better
    assert better == (p_value < LEVEL)


def test_equal_models_are_told_apart_one_time_in_twenty():
    results = [
        compare(*scores({"one": 0.0, "two": 0.0}, seed=seed).values(), "tasks").better != 0
        for seed in range(200)
    ]
    # The 99.9 % range of a binomial of 200 at 0.05 is 2 to 21.
    assert 2 <= sum(results) <= 21


means = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "e"]), st.sampled_from([0.0, 0.3, 0.6, 2.0]), min_size=2
)


@given(means, st.integers(0, 5), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_ranks_do_not_depend_on_the_order_of_rows_or_models(averages, seed, shuffler):
    found = scores(averages, seed)
    ranks = Verdicts(found, "tasks").ranks(list(found))
    assert Verdicts(shuffled(found, shuffler), "tasks").ranks(list(found)) == ranks


def shuffled(found, shuffler: random.Random):
    models = list(found)
    shuffler.shuffle(models)
    parts = {}
    for model in models:
        rows = list(found[model].items())
        shuffler.shuffle(rows)
        parts[model] = dict(rows)
    return parts


@given(means, st.integers(0, 5), st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_a_further_model_changes_no_verdict_and_no_order(averages, seed, mean):
    found = scores(averages, seed)
    (extra,) = scores({"extra": mean}, seed + 99).values()
    before = Verdicts(found, "tasks")
    after = Verdicts({"extra": extra, **found}, "tasks")
    for model in found:
        for other in found:
            assert before.of(model, other) == after.of(model, other)
    assert before.ranks(list(found)) == after.ranks(list(found))


@given(means, st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_verdicts_mirror_and_ranges_are_ranges(averages, seed):
    found = scores(averages, seed)
    verdicts = Verdicts(found, "tasks")
    for model in found:
        for other in found:
            if model != other:
                first, second = verdicts.of(model, other), verdicts.of(other, model)
                assert first.better == -second.better
                assert first.win_rate + second.win_rate == pytest.approx(1)
    for rank in verdicts.ranks(list(found)).values():
        assert 1 <= rank.best <= rank.worst <= len(found)


def test_models_that_share_no_picture_have_no_verdict():
    found = scores({"one": 0.0, "two": 9.0}, prompts=20)
    half = {
        model: {id: value for id, value in scores.items() if id.endswith(f"-0{sample}")}
        for sample, (model, scores) in enumerate(found.items())
    }
    verdicts = Verdicts(half, "tasks")
    assert verdicts.of("one", "two") is None
    assert verdicts.ranks(["one", "two"]) == {"one": (1, 2), "two": (1, 2)}
    assert verdicts.win_rate("one", ["one", "two"]) is None


def test_standings_are_means_over_boards_of_models_that_rank_on_each():
    first = scores({"a": 3.0, "b": 0.0, "c": -3.0}, prompts=20)
    second = scores({"a": -3.0, "b": 3.0}, seed=1, prompts=20)
    rows, absent = standings(
        {
            "one": (list(first), Verdicts(first, "tasks")),
            "two": (list(second), Verdicts(second, "tasks")),
        }
    )
    assert absent == {"c": ("two",)}
    assert [row.model for row in rows] == ["a", "b"]
    # c, whom nobody can compare on both, does not make b the second of three.
    assert rows[0].ranks == {"one": (1, 1), "two": (2, 2)}
    assert [row.mean_rank for row in rows] == [1.5, 1.5]
    assert rows[0].win_rate + rows[1].win_rate == pytest.approx(1)
    assert rows[0].win_rate == pytest.approx(0.5, abs=0.1)


def test_prompts_on_which_models_are_equal_count_half():
    (score,) = scores({"one": 0.0}).values()
    better = {id: value + (id[-8:-3] == "00000") for id, value in score.items()}
    assert compare(score, score, "tasks").win_rate == 0.5
    assert compare(score, score, "tasks").better == 0
    assert compare(better, score, "tasks").win_rate == pytest.approx((1 + 11 / 2) / 12)


def test_a_mean_rank_is_of_the_middles_of_ranges():
    found = scores({"a": 0.0, "b": 0.0, "c": -5.0}, seed=3, prompts=20)
    boards = {id: (list(found), Verdicts(found, "tasks")) for id in ("one", "two")}
    rows, _ = standings(boards)
    assert {row.model: row.mean_rank for row in rows} == {"a": 1.5, "b": 1.5, "c": 3.0}


def alone(differences, headline, resamples=5000):
    """The p-value of flips, as its formula reads: one pair, one flip of all its clusters each."""
    moving = np.flatnonzero(differences.sums)
    every = 2**moving.size <= resamples
    rng = np.random.default_rng(0)
    if every:
        signs = (np.arange(2**moving.size)[:, None] >> np.arange(moving.size)) % 2
    else:
        signs = rng.integers(2, size=(resamples, moving.size), dtype=np.int8)

    def strength(sums):
        flipped = replace(differences, sums=sums, least=sums * 0 - 1e9, greatest=sums * 0 + 1e9)
        m, counts = flipped.sizes, flipped.by_stratum(flipped.counts)
        means = flipped.by_stratum(sums) / counts
        over = headline == "tasks"
        d = means.mean() if over else sums.sum() / counts.sum()
        of = means if over else np.full(m.size, d)
        z = sums - of[flipped.stratum] * flipped.counts
        z = z - (flipped.by_stratum(z) / m)[flipped.stratum]
        size = counts * m.size if over else np.full(m.size, counts.sum())
        v = (flipped.by_stratum(z**2) * m / np.maximum(m - 1, 1) / size**2).sum()
        return d**2 / (d**2 + v) if d else 0.0

    observed = strength(differences.sums) - 1e-9
    extreme = 0
    for row in 2 * signs.astype(float) - 1:
        sums = differences.sums.copy()
        sums[moving] *= row
        extreme += strength(sums) >= observed
    return extreme / len(signs) if every else (1 + extreme) / (1 + resamples)


@given(
    st.integers(0, 10_000), st.integers(2, 5), st.sampled_from(["tasks", "items"]), st.booleans()
)
@settings(max_examples=15, deadline=None)
def test_pairs_that_are_tested_together_have_the_p_values_they_have_alone(
    seed, models, headline, binary
):
    rng = np.random.default_rng(seed)
    prompts = int(rng.integers(2, 15))
    tasks = rng.choice(["a", "b", "c"], prompts)
    ids = [
        f"{task}/{index:05d}-{sample:02d}"
        for index, task in enumerate(tasks)
        for sample in range(rng.integers(1, 3))
    ]
    found = {
        str(model): {
            id: float(rng.random() < 0.3 + 0.1 * model) if binary else rng.normal(0.2 * model)
            for id in ids
            if model or rng.random() < 0.9
        }
        for model in range(models)
    }
    verdicts = Verdicts(found, headline)
    for first in found:
        for second in found:
            verdict = verdicts.of(first, second)
            if first >= second or verdict is None:
                continue
            assert verdict == compare(found[first], found[second], headline)
            both = [id for id in found[first] if id in found[second]]
            totals = Totals.of(
                [found[first][id] - found[second][id] for id in both],
                [int(id[-8:-3]) for id in both],
                [id[0] for id in both],
            )
            resamples = 300  # the naive way is slow
            (p_value,) = sign_flips([totals], headline, resamples=resamples)
            assert p_value == pytest.approx(alone(totals, headline, resamples), abs=1e-12)


def test_pairs_of_a_board_share_their_flips():
    found = scores({str(model): 0.02 * model for model in range(40)}, prompts=24)
    made = []

    class Counted(np.random.Generator):
        def integers(self, *args, **rest):
            made.append(args)
            return super().integers(*args, **rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "rewardkit.stats.clusters.np.random.default_rng",
            lambda seed: Counted(np.random.PCG64(seed)),
        )
        Verdicts(found, "tasks")
    assert len(made) == 1  # the flips of 780 pairs of as many prompts are drawn once
