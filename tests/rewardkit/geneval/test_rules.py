"""Verdicts are upstream's, to the last reason; credit agrees with them where it is 1."""

import functools
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from golden.detections import Verdicts, own_lines, scenes, told

from rewardkit.errors import InputError
from rewardkit.geneval.names import CLASSES, COLOURS
from rewardkit.geneval.rules import Reason, counted, credit, judge, relations


def texts(verdict):
    """Our reasons as golden files have upstream's."""
    return "; ".join(
        told(reason.kind, reason.clause[1], *reason.numbers.values()) for reason in verdict.reasons
    )


@functools.cache
def own_scenes():
    return list(scenes(own_lines()))


def test_verdicts_and_reasons_are_upstreams():
    golden = Verdicts.load("own")
    scenes = zip(own_scenes(), golden.bits(), golden.reasons, strict=True)
    seen = set()
    for (line, scene), correct, reasons in scenes:
        verdict = judge(line, scene.detections, scene.colour_of)
        assert (verdict.correct, texts(verdict)) == (correct, golden.texts[reasons])
        seen |= {(line["tag"], reason.kind) for reason in verdict.reasons}
        seen |= {(line["tag"], correct)}
    assert seen >= {(line["tag"], correct) for line in own_lines() for correct in (True, False)}
    assert seen >= {("position", k) for k in ("missing", "colour", "position", "no-target")}


def test_credit_is_1_exactly_where_upstream_says_correct():
    correct = Verdicts.load("own").bits()
    for (line, scene), right in zip(own_scenes(), correct, strict=True):
        score = credit(line, scene.detections, scene.colour_of)
        assert 0 <= score <= 1 and (score == 1) == right


@pytest.mark.data
def test_verdicts_on_the_official_lines_are_upstreams():
    file = Path(os.environ["REWARDKIT_TEST_DATA"], "geneval", "evaluation_metadata.jsonl")
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert len(lines) == 553
    correct = Verdicts.load("official").bits()
    assert 0.3 < np.mean(correct) < 0.7
    for (line, scene), right in zip(scenes(lines), correct, strict=True):
        assert judge(line, scene.detections, scene.colour_of).correct == right


@pytest.mark.data
def test_the_names_are_upstreams():
    file = Path(os.environ["REWARDKIT_TEST_DATA"], "geneval", "object_names.txt")
    assert tuple(file.read_text("utf-8").split("\n")[:80]) == CLASSES


def test_the_names_are_in_a_detectors_order():
    ends = (CLASSES[0], CLASSES[63], CLASSES[64], CLASSES[65], CLASSES[66], CLASSES[79])
    assert len(set(CLASSES)) == 80
    assert ends == (
        "person",
        "laptop",
        "computer mouse",
        "tv remote",
        "computer keyboard",
        "toothbrush",
    )
    assert COLOURS[0] == "red" and COLOURS[-2:] == ("black", "white") and len(set(COLOURS)) == 10


# By hand: which objects count.


def rows(*scores, x=0.0):
    """Boxes of 10 pixels, far apart, of these scores."""
    return np.array([[x + 50 * i, 0, x + 50 * i + 10, 10, s] for i, s in enumerate(scores)])


def up(number):
    return np.nextafter(np.float32(number), np.float32(1))


@pytest.mark.parametrize(
    ("tag", "score", "counts"),
    [
        ("colors", np.float32(0.3), False),
        ("colors", 0.3, False),  # above 0.3 in float64 arithmetic only where float32's is rounded
        ("colors", up(0.3), True),
        ("counting", np.float32(0.9), False),
        ("counting", up(0.9), True),
        ("counting", 0.5, False),
        ("position", 0.5, True),
    ],
)
def test_an_object_counts_above_the_threshold_of_its_task(tag, score, counts):
    assert len(counted(rows(score), tag)) == counts


def test_the_best_16_count_and_of_equal_scores_the_later_comes_first():
    kept = counted(rows(*[0.5, 0.9, 0.5, 0.7] * 5), "colors")
    assert kept.shape == (16, 5) and kept.dtype == np.float32
    order = (kept[:, 0] / 50).tolist()
    assert order == [17, 13, 9, 5, 1, 19, 15, 11, 7, 3, 18, 16, 14, 12, 10, 8]


def test_boxes_that_overlap_all_count():
    assert len(counted(np.repeat(rows(0.95), 3, axis=0), "counting")) == 3


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 4)), np.zeros(5), np.full((1, 5), np.nan), np.full((1, 5), np.inf)]
)
def test_what_is_no_detection_is_refused(wrong):
    with pytest.raises(InputError, match=r"five finite numbers"):
        counted(wrong, "colors")


# By hand: where an object lies.


def box(x, y, width=0.0, height=0.0):
    """A box by its centre."""
    half = np.array([width, height]) / 2
    return np.array([*(np.array([x, y]) - half), *(np.array([x, y]) + half), 0.9], np.float32)


TABLE = [
    # Points: the direction alone. y is downwards.
    ((10, 0), {}, {"right of"}),
    ((-10, 0), {}, {"left of"}),
    ((0, 10), {}, {"below"}),
    ((0, -10), {}, {"above"}),
    ((10, 10), {}, {"right of", "below"}),
    ((-10, -10), {}, {"left of", "above"}),
    ((10, 4), {}, {"right of"}),
    ((0, 0), {}, set()),
    # (30, 40) is 50 long. Widths of 25 and 25 take 5 of 30: 25 / 50 is 0.5, which is not above it.
    ((30, 40), {"width": 25}, {"below"}),
    ((-30, 40), {"width": 25}, {"below"}),
    ((30, 40), {"width": 24.5}, {"right of", "below"}),
    ((40, 30), {"height": 25}, {"right of"}),
    ((40, -30), {"height": 25}, {"right of"}),
    ((40, -30), {"height": 24.5}, {"right of", "above"}),
    # Widths of 100 and 100 take 20 of 30: of the offset's own length 10 / 30 is left, no relation.
    ((30, 0), {"width": 100}, set()),
    ((50, 0), {"width": 100}, {"right of"}),  # 30 / 50
    # The whole offset is shrunk away, and more.
    ((20, 0), {"width": 100}, set()),
    ((5, 5), {"width": 100, "height": 100}, set()),
    # Less than a thousandth of a pixel is nothing, a little more is a direction.
    ((0.0005, 0), {}, set()),
    ((0.002, 0), {}, {"right of"}),
]


@pytest.mark.parametrize(("offset", "size", "expected"), TABLE)
def test_where_an_object_lies(offset, size, expected):
    assert relations(box(*offset, **size), box(0, 0, **size)) == expected
    opposite = {"right of": "left of", "left of": "right of", "above": "below", "below": "above"}
    other_way = relations(box(0, 0, **size), box(*offset, **size))
    assert other_way == {opposite[relation] for relation in expected}


def test_both_sizes_count_and_each_axis_its_own():
    # 40 - 0.1 * (100 + 100) = 20 of 40: exactly half.
    assert relations(box(40, 0, width=100), box(0, 0, width=100)) == set()
    assert relations(box(40, 0, width=100), box(0, 0, width=98)) == {"right of"}
    assert relations(box(40, 0, height=200), box(0, 0, height=200)) == {"right of"}


# By hand: clauses.


def colours(**names):
    """Of each class the colours of its objects, the best scored first."""
    return lambda name, boxes: list(names[name][: len(boxes)])


def never(name, boxes):
    raise AssertionError("nothing asks for a colour")


def verdict(include, detections, colour_of=never, exclude=(), tag="position"):
    line = {"tag": tag, "include": include, "exclude": list(exclude)}
    return judge(line, detections, colour_of)


def clause(name, count=1, **more):
    return {"class": name, "count": count, **more}


def test_counting_is_exact_and_every_other_task_at_least():
    exclude = [clause("cup", 3)]
    for number, correct in [(1, False), (2, True), (3, False)]:
        seen = {"cup": rows(*[0.95] * number)}
        assert verdict([clause("cup", 2)], seen, exclude=exclude).correct == correct
        assert verdict([clause("cup", 2)], seen).correct == (number >= 2)


def test_a_class_that_was_not_found_is_missing():
    found = verdict([clause("cup"), clause("dog", 2)], {"dog": rows(0.8)})
    assert found.reasons == (
        Reason(("include", 0), "missing", {"expected": 1, "found": 0}),
        Reason(("include", 1), "missing", {"expected": 2, "found": 1}),
    )


def test_only_the_best_scored_objects_are_asked_their_colour():
    seen = {"cup": rows(0.5, 0.9, 0.7)}
    calls = []

    def colour_of(name, boxes):
        calls.append((name, boxes[:, 4].tolist()))
        return ["red", "blue"]

    found = verdict([clause("cup", 2, color="blue")], seen, colour_of)
    assert calls == [("cup", pytest.approx([0.9, 0.7]))]
    numbers = {"expected": 2, "found": 1, "colours": {"red": 1, "blue": 1}}
    assert found.reasons == (Reason(("include", 0), "colour", numbers),)


def test_a_position_is_told_from_an_earlier_clause_that_holds():
    left, right = rows(0.9), rows(0.9, x=100)
    place = clause("dog", position=["right of", 0])
    assert verdict([clause("cup"), place], {"cup": left, "dog": right}).correct
    turned = verdict([clause("cup"), place], {"cup": right, "dog": left})
    numbers = {"expected": "right of", "relations": ["left of"]}
    assert turned.reasons == (Reason(("include", 1), "position", numbers),)
    # A clause of the wrong colour, and one that lies elsewhere, are no targets.
    red = verdict(
        [clause("cup", color="red"), place, clause("cat", position=["above", 1])],
        {"cup": left, "dog": right, "cat": left},
        colours(cup=["blue"]),
    )
    assert [reason.kind for reason in red.reasons] == ["colour", "no-target", "no-target"]
    assert red.reasons[1] == Reason(("include", 1), "no-target", {})
    chain = [clause("cup"), place, clause("cat", position=["above", 1])]
    lost = verdict(chain, {"cup": right, "dog": left, "cat": left})
    assert [reason.kind for reason in lost.reasons] == ["position", "no-target"]


def test_every_pair_must_lie_so():
    place = [clause("cup", 2), clause("dog", 2, position=["right of", 0])]
    cups = rows(0.9, 0.8)  # at 0 and 50
    assert verdict(place, {"cup": cups, "dog": rows(0.9, 0.8, x=100)}).correct
    assert not verdict(place, {"cup": cups, "dog": rows(0.9, 0.8, x=50)}).correct
    assert not verdict(place, {"cup": cups, "dog": rows(0.9, 0.8, x=0)}).correct
    # The third cup is in the way of both, and not looked at.
    cups = np.concatenate([cups, rows(0.7, x=1000)])
    assert verdict(place, {"cup": cups, "dog": rows(0.9, 0.8, x=100)}).correct


def test_an_object_of_the_wrong_colour_is_not_asked_where_it_lies():
    line = [clause("cup"), clause("dog", color="red", position=["right of", 0])]
    found = verdict(line, {"cup": rows(0.9, x=100), "dog": rows(0.9)}, colours(dog=["blue"]))
    assert [reason.kind for reason in found.reasons] == ["colour"]


def test_two_clauses_of_one_class_look_at_the_same_objects():
    line = [clause("cup", color="red"), clause("cup", color="blue")]
    found = verdict(line, {"cup": rows(0.9, 0.8)}, colours(cup=["red", "blue"]))
    numbers = {"expected": 1, "found": 0, "colours": {"red": 1}}
    assert found.reasons == (Reason(("include", 1), "colour", numbers),)


def test_excess_is_told_for_each_clause():
    exclude = [clause("dog", 1), clause("cup", 2), clause("cat", 1)]
    seen = {"cup": rows(0.9, 0.8), "dog": rows(0.9)}
    found = verdict([clause("cup")], seen, exclude=exclude)
    assert found.reasons == (
        Reason(("exclude", 0), "excess", {"expected": 1, "found": 1}),
        Reason(("exclude", 1), "excess", {"expected": 2, "found": 2}),
    )


def test_classes_that_are_not_asked_for_cost_nothing():
    assert verdict([clause("cup")], {"cup": rows(0.9), "dog": rows(0.9)}).correct


def test_a_colour_for_each_object_is_wanted():
    with pytest.raises(ValueError, match="0 colours for 1 objects"):
        verdict([clause("cup", color="red")], {"cup": rows(0.9)}, lambda *_: [])


def test_wrong_metadata_is_refused():
    with pytest.raises(InputError, match=re.escape("include.0.count")):
        judge({"tag": "colors", "include": [clause("cup", 0)]}, {}, never)


# Credit, by hand.

COLOUR = [clause("cup", color="red")]
PAIR = [clause("cup"), clause("dog", position=["right of", 0])]
COUNT = ([clause("cup", 3)], [clause("cup", 4)])
CREDITS = [
    (COLOUR, [], {}, 0),
    (COLOUR, [], {"dog": rows(0.9)}, 0),  # of another class, though it may be red
    (COLOUR, [], {"cup": rows(0.9)}, 1 / 2),  # the best cup is blue
    ([clause("cup", 4, color="red")], [], {"cup": rows(0.9, 0.8)}, (2 / 4 + 1 / 4) / 2),
    (PAIR, [], {"cup": rows(0.9)}, 1 / 2),
    (PAIR, [], {"cup": rows(0.9), "dog": rows(0.9, x=100)}, 1),
    (PAIR, [], {"cup": rows(0.9, x=100), "dog": rows(0.9)}, 3 / 4),
    (PAIR, [], {"dog": rows(0.9)}, 1 / 4),  # there, but to the right of nothing
    (*COUNT, {}, 0),
    (*COUNT, {"cup": rows(*[0.95] * 2)}, 2 / 3),
    (*COUNT, {"cup": rows(*[0.95] * 3)}, 1),
    (*COUNT, {"cup": rows(*[0.95] * 4)}, 3 / 4),
    (*COUNT, {"cup": rows(*[0.95] * 12)}, 1 / 4),
    (COUNT[0], [clause("dog", 1)], {"cup": rows(*[0.95] * 3), "dog": rows(0.95)}, 0),
]


@pytest.mark.parametrize(("include", "exclude", "seen", "expected"), CREDITS)
def test_credit(include, exclude, seen, expected):
    line = {"tag": "counting" if exclude else "position", "include": include, "exclude": exclude}
    score = credit(line, seen, colours(cup=["blue", "red"]))
    assert score == pytest.approx(expected)


def test_credit_of_pairs_is_the_share_that_lies_so():
    line = {"tag": "position", "include": [clause("cup", 2), PAIR[1]]}
    seen = {"cup": np.concatenate([rows(0.9), rows(0.8, x=200)]), "dog": rows(0.9, x=100)}
    assert credit(line, seen, never) == pytest.approx((1 + (1 + 1 / 2) / 2) / 2)
    seen["cup"] = rows(0.9)  # one of two cups, of which the dog lies right
    assert credit(line, seen, never) == pytest.approx((1 / 2 + (1 + 1 / 2) / 2) / 2)
