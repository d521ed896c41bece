"""Benchmarks that are made of several rewards: dimensions, normalised and weighed."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tiny_benchmarks import CASES, DIMENSION_PROMPTS, DIMENSIONS, PROMPTS, TINY, draw

from benchmarks.comparing import compare_results
from benchmarks.criteria import (
    EVERYTHING,
    Criterion,
    averaging,
    each_tag,
    share,
    values_of,
    with_reward,
)
from benchmarks.merging import merge
from benchmarks.reading import read_result, read_table
from benchmarks.rows import ScoredSample
from benchmarks.runner import score
from benchmarks.shard import Shard
from benchmarks.trust import contradiction
from leaderboards.assemble import leaderboard
from rewardkit.errors import RewardKitError
from rewardkit.stats.clusters import estimate

# reward, tag, low, high and weight of each dimension, written out: quality weighs 4, semantic 1.
BY_HAND = (
    ("sharpness", "sharp", 0.0, 4000.0, 4 * 1 / 1.5),
    ("contrast", "vivid", 5.0, 85.0, 4 * 0.5 / 1.5),
    ("shapes-graded", "objects", 0.0, 1.0, 1 / 2),
    ("shapes-correct", "colour", 0.0, 1.0, 1 / 2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of the embedded world, most of which show what their prompts say."""
    return draw(tmp_path_factory.mktemp("drawn") / "pictures", seed=0, right=0.7)


def scored(folder, out, name="better", **options):
    return score(DIMENSIONS, DIMENSION_PROMPTS, folder, out, name=name, device="cpu", **options)


@pytest.fixture(scope="module")
def path(folder, tmp_path_factory):
    return scored(folder, tmp_path_factory.mktemp("results"))


def rows_of(path):
    return {row.id: row.scores for row in read_table(read_result(path), path).rows}


def total(rows, weights=None):
    """100 times the weighted mean of the normalised dimensions of (id, scores), by hand."""
    found = 0.0
    for reward, tag, low, high, weight in BY_HAND:
        own = [(id, scores[reward]) for id, scores in rows if tag in id.split("/")[0].split("+")]
        often = [1.0 if weights is None else weights[id.split("-")[0]] for id, _ in own]
        mean = np.average([value for _, value in own], weights=often)
        found += weight * (mean - low) / (high - low)
    return 100 * found / 5


def test_each_reward_scores_the_cases_of_its_criteria(path):
    for id, scores in rows_of(path).items():
        tags = id.split("/")[0].split("+")
        known = {reward for reward, value in scores.items() if value is not None}
        assert known == {reward for reward, tag, *_ in BY_HAND if tag in tags}


def test_the_total_is_computed_by_hand(path):
    result, rows = read_result(path), rows_of(path)
    assert result.complete and result.n_scored == result.n_expected == 18
    assert result.benchmark.metric == "total" and next(iter(result.metrics)) == "total"
    assert result.score == pytest.approx(total(rows.items()), rel=1e-9)
    for reward, tag, low, high, _ in BY_HAND:
        own = [scores[reward] for id, scores in rows.items() if tag in id.split("/")[0].split("+")]
        assert result.tasks[tag].score == pytest.approx(100 * (np.mean(own) - low) / (high - low))
        assert (result.tasks[tag].n, result.tasks[tag].expected) == (len(own), len(own))
        # Of the reward alone: its plain mean.
        assert result.metrics[reward].headline.score == pytest.approx(100 * np.mean(own))


def test_the_interval_is_that_of_prompts_drawn_with_all_their_dimensions(path):
    result, rows = read_result(path), rows_of(path)
    prompts = sorted({id.split("-")[0] for id in rows})
    strata = {}
    for prompt in prompts:
        strata.setdefault(prompt.split("/")[0], []).append(prompt)
    rng = np.random.default_rng(5)
    resampled = []
    for _ in range(3000):
        weights = {}
        for own in strata.values():
            # m - 1 of m prompts, with the weight of m.
            drawn = np.bincount(rng.integers(len(own), size=len(own) - 1), minlength=len(own))
            for prompt, times in zip(own, drawn, strict=True):
                weights[prompt] = times * len(own) / (len(own) - 1)
        resampled.append(total(rows.items(), weights))
    low, high = np.quantile(resampled, (0.025, 0.975))
    assert result.interval == pytest.approx((low, high), abs=0.06 * (high - low))
    # Dimensions that share prompts vary together: apart, they would vary less or more.
    assert low < result.score < high


def test_a_result_by_criteria_says_what_its_rows_say(path, tmp_path):
    result = read_result(path)
    assert contradiction(result, read_table(result, path)) is None
    document = json.loads(path.read_text("utf-8"))
    document["score"] = document["metrics"]["total"]["headline"]["score"] = 3.0
    wrong = path.with_name("wrong.json")
    wrong.write_text(json.dumps(document), "utf-8")
    assert "for total, and it says 3" in contradiction(read_result(wrong), read_table(result, path))
    wrong.unlink()


def test_shards_by_criteria_are_merged_to_the_whole(path, folder, tmp_path):
    parts = [scored(folder, tmp_path, shard=Shard(number, 2)) for number in (1, 2)]
    whole = read_result(merge(parts, DIMENSIONS, DIMENSION_PROMPTS, tmp_path))
    assert whole.metrics == read_result(path).metrics and whole.complete


def test_models_are_compared_and_ranked_by_the_total(path, folder, tmp_path):
    worse = draw(tmp_path / "worse", seed=1, right=0.0)
    other = scored(worse, path.parent, "worse")
    found = compare_results(path, other)
    change = found.metrics["total"].headline
    assert change.before == pytest.approx(read_result(path).score)
    assert change.after == pytest.approx(read_result(other).score)
    assert list(found.metrics["total"].strata) == ["sharp", "vivid", "objects", "colour"]
    assert found.left_out == 0
    (board,) = leaderboard([path.parent]).boards
    assert (board.metric, board.tasks) == ("total", ("sharp", "vivid", "objects", "colour"))
    assert board.averaging == "weighted mean of 4 normalised criteria"
    assert {entry.label for entry in board.ranked} == {"better", "worse"}


def test_what_is_missing_makes_it_incomplete(tmp_path):
    few = draw(tmp_path / "few", seed=2, right=1.0)
    for path in few.glob("00008-*.png"):
        path.unlink()
    result = read_result(scored(few, tmp_path / "out", allow_partial=True))
    assert not result.complete and (result.n_scored, result.n_expected) == (16, 18)
    assert (result.tasks["colour"].n, result.tasks["colour"].expected) == (4, 6)


def pictures(values):
    return [
        ScoredSample(case.stratum, case.index, sample, {"x": values[case.index, sample]})
        for case in CASES
        for sample in range(2)
    ]


VALUES = np.random.default_rng(0).normal(size=(7, 2))


def interval(found):
    return estimate(
        found.values,
        [sample.prompt for sample in found.scored],
        [sample.stratum for sample in found.scored],
        found.headline,
    ).headline


@pytest.mark.parametrize(
    ("criteria", "headline"),
    [(each_tag("rings", "boxes", "stars"), "tasks"), (EVERYTHING, "items")],
)
def test_the_usual_means_are_criteria(criteria, headline):
    """The numbers are those of `rewardkit.stats` for the scores themselves, to the bit."""
    rows = pictures(VALUES)
    plain = estimate(
        [10 * VALUES[row.index, row.sample] for row in rows],
        [row.index for row in rows],
        [row.stratum for row in rows],
        headline,
    )
    assert interval(values_of(with_reward(criteria, "x"), rows, 10.0)) == plain.headline


def test_a_mean_of_means_is_a_total_like_any_other():
    """With weights that differ by nothing that matters, it goes the way of all criteria."""
    usual = with_reward(each_tag("rings", "boxes", "stars"), "x")
    weighed = (*usual[:-1], replace(usual[-1], weight=1 + 1e-12))
    rows = pictures(VALUES)
    one, other = (values_of(criteria, rows, 1.0) for criteria in (usual, weighed))
    assert (one.headline, other.headline) == ("tasks", "items")
    assert interval(other).mean == pytest.approx(interval(one).mean, rel=1e-9)
    assert interval(other).interval == pytest.approx(interval(one).interval, rel=1e-9)


def test_weights_of_a_group_are_shared_out():
    shared = share(4, Criterion("a", weight=1), Criterion("b", weight=0.5))
    assert [part.weight for part in shared] == pytest.approx([8 / 3, 4 / 3])


def test_captions_say_how_scores_are_averaged():
    assert averaging(each_tag("a", "b"), "videos") == "mean over tasks"
    assert averaging(EVERYTHING, "videos") == "mean of all videos"
    weighed = (Criterion("a"), Criterion("b", weight=2))
    assert averaging(weighed, "videos") == "weighted mean of 2 normalised criteria"


@pytest.mark.parametrize("wrong", [{"low": 1.0}, {"high": 0.0}, {"weight": 0.0}])
def test_a_criterion_that_makes_no_number_is_refused(wrong):
    with pytest.raises(RewardKitError, match="low is below high, and a weight is above 0"):
        Criterion("a", **wrong)


def test_criteria_need_names_of_their_own():
    with pytest.raises(RewardKitError, match="each needs a tag of its own"):
        replace(TINY, criteria=(Criterion("a", "x"), Criterion("b", "x")))
    with pytest.raises(RewardKitError, match="needs at least one"):
        replace(TINY, criteria=())
    assert PROMPTS.cases[0].tags == ("rings",)
