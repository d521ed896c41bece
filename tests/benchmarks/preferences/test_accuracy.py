"""Each measure is what it says, by hand, by brute force, and beside upstream's own code."""

import random

import numpy as np
import pytest
from golden.calls import Calls
from golden.cases import FOLDER
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.preferences.accuracy import pairs, three_way, tie_threshold
from benchmarks.preferences.question import Question
from benchmarks.preferences.summary import measure_agreement, measure_changes

UPSTREAM = Calls.model_validate_json((FOLDER / "preferences.json").read_bytes()).functions


def question(ranking, prompt="a cat", tag="all"):
    images = tuple(f"{i}.png" for i in range(len(ranking)))
    return Question(prompt, images, tuple(map(float, ranking)), tag)


def test_numbers_are_those_of_a_pencil():
    questions = [question([1, 2, 2], "a"), question([2, 1], "b"), question([1, 2], "c")]
    found = measure_agreement(questions, [[3.0, 1.0, 2.0], [5.0, 5.0], [0.0, 4.0]])
    # Told apart: right, right, a tie of the reward, wrong.
    assert (found.accuracy.score, found.accuracy.n) == (2.5 / 4, 4)
    assert (found.ties_as_wrong.score, found.ties_as_wrong.n) == (2 / 4, 4)
    by_question = found.ties_as_wrong_by_question
    assert (by_question.score, by_question.n) == (pytest.approx((1 + 0 + 0) / 3), 3)
    assert (found.ranking_accuracy.score, found.ranking_accuracy.n) == (0.5, 3)
    # Of five pairs, 0 as epsilon finds two orders, and 1 finds an order and the tie.
    assert (found.with_ties.score, found.with_ties.n, found.epsilon) == (2 / 5, 5, 0)


def test_a_question_without_an_answer_counts_where_ties_do():
    questions = [question([1, 1], "a"), question([1, 2], "b")]
    found = measure_agreement(questions, [[1.0, 1.25], [3.0, 1.0]])
    assert found.accuracy.n == found.ties_as_wrong_by_question.n == 1
    assert found.ties_as_wrong_by_question.expected == 1
    assert (found.with_ties.score, found.with_ties.n, found.epsilon) == (1, 2, 0.25)
    assert (found.ranking_accuracy.score, found.ranking_accuracy.n) == (1, 2)


RANKINGS = [[1, 2, 3, 4], [4, 2, 3, 1], [2, 1], [1, 3, 2], [3, 1, 2]]


@pytest.mark.parametrize(("sign", "accuracy"), [(-1, 1), (1, 0), (0, 0.5)])
def test_perfect_reversed_and_constant_rewards(sign, accuracy):
    questions = [question(ranking, str(i)) for i, ranking in enumerate(RANKINGS)]
    found = measure_agreement(questions, [[sign * float(r) for r in each] for each in RANKINGS])
    assert found.accuracy.score == found.ranking_accuracy.score == accuracy
    assert found.ties_as_wrong.score == found.ties_as_wrong_by_question.score == int(accuracy)
    assert found.accuracy.interval == (accuracy, accuracy)


def test_accuracy_with_ties_as_wrong_is_imagerewards():
    calls = UPSTREAM["hpsv2/src/training/train.py: calc_ImageReward"]
    assert len(calls) > 10
    for call in calls:
        questions = [question(call.arguments["ranking"])]
        found = measure_agreement(questions, [call.arguments["scores"]])
        assert found.ties_as_wrong.score == pytest.approx(call.results["accuracy"], abs=1e-12)
    # Over several prompts: upstream's mean over them.
    found = measure_agreement(
        [question(call.arguments["ranking"], str(i)) for i, call in enumerate(calls)],
        [call.arguments["scores"] for call in calls],
    )
    mean = np.mean([call.results["accuracy"] for call in calls])
    assert found.ties_as_wrong_by_question.score == pytest.approx(mean, abs=1e-12)


def test_ranking_accuracy_is_that_of_hps():
    calls = UPSTREAM["hpsv2/src/training/train.py: inversion_score"]
    assert len(calls) > 10
    found = measure_agreement(
        [question(call.arguments["ranking"], str(i)) for i, call in enumerate(calls)],
        [call.arguments["scores"] for call in calls],
    )
    mean = np.mean([call.results["accuracy"] for call in calls])
    assert found.ranking_accuracy.score == pytest.approx(mean, abs=1e-12)
    for call in calls:
        found = measure_agreement([question(call.arguments["ranking"])], [call.arguments["scores"]])
        assert found.ranking_accuracy.score == pytest.approx(call.results["accuracy"], abs=1e-12)


@given(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(-6, 6)), min_size=1))
def test_no_other_threshold_finds_more(judged):
    human, difference = (np.array(column) for column in zip(*judged, strict=True))
    chosen = tie_threshold(human, difference.astype(float))
    found = {e: three_way(human, difference, e).sum() for e in np.arange(0, 7.5, 0.5)}
    assert found[chosen] == max(found.values())
    assert chosen == min(e for e, n in found.items() if n == found[chosen])


ASKED = st.lists(
    st.lists(st.tuples(st.integers(1, 4), st.integers(-3, 3)), min_size=2, max_size=5),
    min_size=1,
    max_size=6,
)


@settings(max_examples=20, deadline=None)
@given(ASKED, st.randoms(use_true_random=False))
def test_the_order_of_questions_and_pictures_changes_nothing(questions, rng):
    def measured(order):
        return measure_agreement(
            [question([r for r, _ in questions[i]], f"{i % 4}", "ab"[i % 2]) for i in order],
            [[float(s) for _, s in questions[i]] for i in order],
        )

    before = measured(range(len(questions)))
    for pictures in questions:
        rng.shuffle(pictures)
    assert measured(rng.sample(range(len(questions)), len(questions))) == before


def test_what_failed_is_counted_and_is_no_number():
    questions = [question([1, 2, 3], "a"), question([1, 2], "b"), question([2, 2], "c")]
    found = measure_agreement(questions, [[3.0, None, 1.0], [None, None], [1.0, 1.0]])
    assert (found.accuracy.score, found.accuracy.n, found.accuracy.expected) == (1, 1, 4)
    assert (found.with_ties.n, found.with_ties.expected) == (2, 5)
    # A question that is not scored whole has no ranking.
    assert (found.ranking_accuracy.n, found.ranking_accuracy.expected) == (1, 3)
    nothing = measure_agreement(questions, [[None] * 3, [None] * 2, [None] * 2])
    assert nothing.accuracy.score is nothing.with_ties.score is nothing.epsilon is None
    assert nothing.tags["all"].expected == 4


def test_a_prompt_asked_twice_is_one_cluster():
    rankings, scores = [[1, 2]] * 20, [[1.0, 0.0]] * 10 + [[0.0, 1.0]] * 10
    prompts = [str(i) for i in range(10)]
    apart = measure_agreement([question([1, 2], str(i)) for i in range(20)], scores)
    # Each prompt has one right and one wrong: whichever are drawn, half are right.
    twice = zip(rankings, prompts * 2, strict=True)
    together = measure_agreement([question(r, prompt) for r, prompt in twice], scores)
    assert apart.accuracy.score == together.accuracy.score == 0.5
    assert together.accuracy.interval == (0.5, 0.5)
    assert apart.accuracy.interval[0] < 0.4 and apart.accuracy.interval[1] > 0.6


def test_tags_are_measured_by_themselves():
    questions = [question([1, 2], str(i), "cats" if i < 3 else "dogs") for i in range(6)]
    found = measure_agreement(questions, [[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 3)
    assert {tag: share.score for tag, share in found.tags.items()} == {"cats": 1, "dogs": 0}
    # Tags are strata: how many questions each has is no chance.
    assert found.accuracy.interval == (0.5, 0.5)


def test_rewards_are_compared_with_the_first_on_pairs_that_both_know():
    rng = random.Random(0)
    questions = [question([1, 2], str(i)) for i in range(30)]
    chance = [[rng.random(), rng.random()] for _ in questions]
    scores = {"chance": chance, "right": [[1.0, 0.0]] * 29 + [[1.0, None]], "same": chance}
    found = measure_changes(questions, scores)
    assert list(found) == ["right", "same"]
    right = found["right"]
    known = pairs(questions[:29], chance[:29])
    assert right.n == 29 and right.after == 1
    assert right.before == pytest.approx((known.difference > 0).mean())
    assert right.difference == pytest.approx(1 - right.before)
    assert right.lost == 0 and right.won + right.tied == 29 and right.p_value < 0.01
    assert found["same"].difference == 0 and found["same"].p_value == 1
    assert measure_changes(questions, {"a": chance, "b": [[None, None]] * 30}) == {}
