"""The judge gives what is asked for 1, parts of it parts, and hybrids nothing."""

from itertools import permutations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rewardkit.shapes.detect import DetectedShape
from rewardkit.shapes.judge import correct, graded
from rewardkit.shapes.prompts import NUMBERS, RELATIONS, lies, parse
from rewardkit.shapes.world import COLOURS


def seen(*things):
    """What was found: "red ring" each, "?" for what is unknown, from left to right."""
    found = []
    for column, thing in enumerate(things):
        colour, _, shape = thing.rpartition(" ")
        box = (8 * column, 0, 8 * column + 7, 7)
        found.append(DetectedShape(None if shape == "?" else shape, colour or None, box, 1.0))
    return found


CASES = [
    ("a ring", ["red ring"], 1.0),
    ("a ring", [], 0.0),
    ("a ring", ["red cross"], 0.0),
    ("a ring", ["red ring", "red cross"], 1 / 2),  # 1 right of 2 there
    ("a ring", ["red ring", "?"], 1 / 2),
    ("a ring", ["?"], 0.0),  # a hybrid is no ring
    ("a red ring", ["red ring"], 1.0),
    ("a red ring", ["blue ring"], 1 / 2),
    ("a red ring", ["ring"], 1 / 2),  # of several colours
    ("a red ring", ["red cross"], 0.0),  # the colour alone is nothing
    ("a red ring", ["blue ring", "red ring"], 1 / 2),  # the right one counts, one too many
    ("a ring and a cross", ["red ring", "red cross"], 1.0),
    ("a ring and a cross", ["red ring"], 1 / 2),
    ("a ring and a cross", ["red ring", "?"], 1 / 2),
    ("a ring and a cross", ["red ring", "red ring"], 1 / 2),  # two rings serve one
    ("a ring and a cross", ["red ring", "red cross", "red square"], 2 / 3),
    ("three rings", ["red ring", "blue ring", "red ring"], 1.0),
    ("three rings", ["red ring", "blue ring"], 2 / 3),
    ("three rings", ["red ring"] * 4, 3 / 4),
    ("a red ring and a blue cross", ["red ring", "blue cross"], 1.0),
    ("a red ring and a blue cross", ["blue ring", "red cross"], 1 / 2),  # both half
    ("a red ring and a blue cross", ["red ring", "red cross"], 3 / 4),
    ("a red ring and a blue cross", ["blue ring"], 1 / 4),
    ("a red ring and a ring", ["red ring", "blue ring"], 1.0),
    ("a red ring and a ring", ["green ring", "blue ring"], 3 / 4),
    ("a ring left of a cross", ["red ring", "red cross"], 1.0),
    ("a ring left of a cross", ["red cross", "red ring"], 1 / 2),
    ("a ring above a cross", ["red ring", "red cross"], 1 / 2),
    ("a ring left of a cross", ["red ring"], 1 / 4),  # half of what is asked, and no relation
    ("a ring left of a cross", ["red ring", "red cross", "?"], 2 / 3),
    ("a red ring left of a blue cross", ["red ring", "green cross"], 3 / 4),
    ("a red ring left of a blue ring", ["red ring", "blue ring"], 1.0),
    ("a red ring left of a blue ring", ["blue ring", "red ring"], 1 / 2),
    ("a ring right of a red ring", ["red ring", "red ring"], 1.0),
]


@pytest.mark.parametrize(("prompt", "things", "grade"), CASES)
def test_the_grade_is_the_one_computed_by_hand(prompt, things, grade):
    asked, found = parse(prompt), seen(*things)
    assert graded(asked, found) == pytest.approx(grade)
    assert correct(asked, found) is (grade == 1.0)


SHAPES = st.sampled_from(["ring", "cross", "square"])
COLOUR = st.sampled_from([None, *list(COLOURS)[:2]])
THING = st.tuples(SHAPES, COLOUR).map(lambda t: f"a {t[1]} {t[0]}" if t[1] else f"a {t[0]}")
PROMPTS = st.one_of(
    THING,
    st.tuples(THING, st.sampled_from(["and", *RELATIONS]), THING).map(" ".join),
    st.tuples(st.sampled_from(list(NUMBERS)), st.sampled_from(["rings", "crosses"])).map(" ".join),
)
FOUND = st.lists(
    st.tuples(st.one_of(st.none(), SHAPES), COLOUR, st.integers(0, 3), st.integers(0, 3)),
    max_size=4,
    unique_by=lambda one: one[2:],
).map(
    lambda things: [
        DetectedShape(shape, colour, (8 * x, 8 * y, 8 * x + 7, 8 * y + 7), 1.0)
        for shape, colour, x, y in things
    ]
)


def shows_exactly(asked, found):
    """Whether some way of naming each found thing by an asked one makes every word true."""

    def fits(order):
        named = zip(asked.things, order, strict=True)
        if not all(
            one.shape == shape and colour in (None, one.colour) for (shape, colour), one in named
        ):
            return False
        if asked.relation is None:
            return True
        (x, y), (other_x, other_y) = order[0].centre, order[1].centre
        return lies(asked.relation, (x - other_x, y - other_y))

    return len(found) == len(asked.things) and any(fits(order) for order in permutations(found))


@given(PROMPTS, FOUND)
def test_a_picture_is_correct_where_every_word_is_true_and_only_there_graded_one(prompt, found):
    asked = parse(prompt)
    grade = graded(asked, found)
    assert 0 <= grade <= 1
    assert correct(asked, found) == (grade == 1) == shows_exactly(asked, found)


@given(PROMPTS, FOUND)
def test_what_is_no_shape_earns_nothing_and_never_helps(prompt, found):
    asked = parse(prompt)
    hybrid = DetectedShape(None, "red", (40, 40, 47, 47), 0.7)
    assert graded(asked, [hybrid] * len(asked.things)) == 0
    assert graded(asked, [*found, hybrid]) <= graded(asked, found)


@given(PROMPTS, FOUND, st.randoms())
def test_the_order_of_what_was_found_does_not_matter(prompt, found, random):
    shuffled = random.sample(found, len(found))
    assert graded(parse(prompt), shuffled) == graded(parse(prompt), found)
