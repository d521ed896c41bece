"""Scores are what upstream's script prints, and a set with holes has none."""

import pytest
from golden.summaries import load, prompts, verdicts

from rewardkit.errors import InputError
from rewardkit.geneval.aggregate import JudgedImage, summarize


@pytest.mark.parametrize("case", load(), ids=lambda case: str(case.seed))
def test_scores_are_upstreams(case):
    ours = summarize(verdicts(case.seed), prompts(case.seed), partial=bool(case.seed % 2))
    assert ours.tags == pytest.approx(case.tags, rel=1e-12)
    assert ours.overall == pytest.approx(case.overall, rel=1e-12)
    assert f"% correct images: {ours.pictures:.2%}\n" in case.printed
    assert f"% correct prompts: {ours.prompts:.2%}\n" in case.printed
    assert f"Overall score (avg. over tasks): {ours.overall:.5f}" in case.printed


EXPECTED = {"a": "colors", "b": "colors", "c": "colors", "d": "counting"}


def pictures(**correct):
    """Verdicts by prompt: "+-" are two, the first one right."""
    return [
        JudgedImage(EXPECTED[prompt], prompt, mark == "+")
        for prompt, marks in correct.items()
        for mark in marks
    ]


def test_scores_by_hand():
    found = summarize(pictures(a="+-", b="--", c="--", d="++"), EXPECTED, per_prompt=2)
    assert found.tags == {"colors": 1 / 6, "counting": 1.0}
    assert found.overall == pytest.approx((1 / 6 + 1) / 2)  # of tasks, not of pictures
    assert (found.pictures, found.prompts) == (3 / 8, 2 / 4)


def test_the_order_of_pictures_says_nothing():
    judged = pictures(a="+-", b="--", c="-+", d="++")
    assert summarize(judged, EXPECTED, 2) == summarize(judged[::-1], EXPECTED, 2)
    assert list(summarize(judged[::-1], EXPECTED, 2).tags) == ["colors", "counting"]


@pytest.mark.parametrize(
    ("correct", "message"),
    [
        ({"a": "+-", "b": "-", "c": "++", "d": "++"}, r"1 of 8 images are missing.*of 'b'\."),
        (
            {"a": "+-", "b": "--", "c": "++"},
            r"2 of 8 .*of 'd'\. There are no images of counting\.",
        ),
        ({"d": "+-"}, r"6 of 8 .*of 'a', 'b', 'c'\. There are no images of colors\."),
        ({"d": "+"}, r"of 'a', 'b', 'c' and 1 more\."),
    ],
)
def test_missing_pictures_are_refused_and_named(correct, message):
    with pytest.raises(InputError, match=message):
        summarize(pictures(**correct), EXPECTED, per_prompt=2)
    assert summarize(pictures(**correct), EXPECTED, per_prompt=2, partial=True).tags


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    ("judged", "message"),
    [
        ([], "no verdicts were given"),
        (pictures(a="+++", b="--", c="--", d="++"), "more than 2 images of 'a'"),
        ([JudgedImage("colors", "e", True)], "'e', which is not a prompt of the benchmark"),
        ([JudgedImage("counting", "a", True)], "'a', which is of task 'colors'"),
    ],
)
def test_what_is_not_the_benchmarks_is_refused(judged, message, partial):
    with pytest.raises(InputError, match=message):
        summarize(judged, EXPECTED, per_prompt=2, partial=partial)


def test_a_partial_mean_leaves_absent_tasks_out():
    found = summarize(pictures(a="+", b="-"), EXPECTED, per_prompt=2, partial=True)
    assert (found.tags, found.overall) == ({"colors": 1 / 2}, 1 / 2)
    assert (found.pictures, found.prompts) == (1 / 2, 1 / 2)
