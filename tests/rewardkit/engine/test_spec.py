"""The language of rewards: what parses, what it means, and where an error points."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.engine.spec import RewardSpec, RewardTerm, parse
from rewardkit.errors import UsageError


def same(name):
    return name


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("hps", [RewardTerm("hps")]),
        ("hps+clip", [RewardTerm("hps"), RewardTerm("clip")]),
        (" hps + clip ", [RewardTerm("hps"), RewardTerm("clip")]),
        ("0.7*hps+1.4*clip", [RewardTerm("hps", 0.7), RewardTerm("clip", 1.4)]),
        ("hps@0.28", [RewardTerm("hps", None, 0.28)]),
        ("2*hps.v2.1@-0.5", [RewardTerm("hps.v2.1", 2.0, -0.5)]),
        ("-1*a+-.5*b", [RewardTerm("a", -1.0), RewardTerm("b", -0.5)]),
        (
            "1e-2*a+1e+2*b@1e+3+c",
            [RewardTerm("a", 0.01), RewardTerm("b", 100.0, 1000.0), RewardTerm("c")],
        ),
        ("./my-file.py:score", [RewardTerm("./my-file.py:score")]),
    ],
)
def test_a_spec_is_terms_joined_by_plus(text, terms):
    assert parse(text, same).terms == tuple(terms)


@pytest.mark.parametrize(
    ("text", "position", "what"),
    [
        ("", 0, "a reward name is missing here"),
        ("hps+", 4, "a reward name is missing here"),
        ("+hps", 0, "a reward name is missing here"),
        ("hps++clip", 4, "a reward name is missing here"),
        ("hps@", 3, "a number is expected here"),
        ("hps@high", 3, "a number is expected here"),
        ("hps*2", 3, "a number is expected here"),
        ("hps clip", 4, "'+' or the end is expected here"),
        ("1e999*hps", 0, "1e999 is too large"),
        ("hps+hps", 4, "hps stands twice in the spec"),
    ],
)
def test_an_error_points_at_its_character(text, position, what):
    with pytest.raises(UsageError) as caught:
        parse(text, same)
    first, shown, pointer, *_ = str(caught.value).split("\n")
    assert first == what
    assert shown == "  " + text
    assert pointer == "  " + " " * position + "^"


def test_the_same_reward_may_stand_under_two_thresholds():
    spec = parse("a@1+a@2", same)
    assert spec.names == ("a",)
    assert spec.total({"a": 1.5}) == 1.0


def test_names_are_resolved_before_they_are_compared():
    with pytest.raises(UsageError, match=r"clip\.vit-l-14 stands twice"):
        parse("clip+clip.vit-l-14", lambda name: "clip.vit-l-14")


# 0.7 * 0.3 + 1.4 * 0.25 = 0.21 + 0.35
def test_a_total_is_the_weighted_sum_of_raw_scores():
    assert parse("0.7*hps+1.4*clip", same).total({"hps": 0.3, "clip": 0.25}) == pytest.approx(0.56)


def test_a_threshold_is_strict_and_comes_before_the_weight():
    spec = parse("3*hps@0.28", same)
    assert [spec.total({"hps": score}) for score in (0.27, 0.28, 0.29)] == [0.0, 0.0, 3.0]


@pytest.mark.parametrize("text", ["hps", "hps+2*clip", "hps@1+clip"])
def test_scores_of_unstated_scale_are_not_added(text):
    spec = parse(text, same)
    assert not spec.has_total
    assert spec.total({"hps": 1.0, "clip": 1.0}) is None


def test_a_missing_score_leaves_no_total():
    assert parse("1*hps+1*clip", same).total({"hps": 0.3, "clip": None}) is None


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
names = st.from_regex(r"[a-z][a-z0-9-]{0,8}(\.[a-z0-9.-]{1,8})?", fullmatch=True)
terms = st.lists(
    st.builds(RewardTerm, names, numbers, numbers),
    min_size=1,
    max_size=5,
    unique_by=lambda term: (term.name, term.threshold),
)


@given(terms)
def test_printing_and_parsing_round_trip(terms):
    spec = RewardSpec(tuple(terms))
    assert parse(str(spec), same) == spec
