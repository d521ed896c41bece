"""Prompts parse back to themselves, hold out what they say, and say what GenEval's lines say."""

import hashlib
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from rewardkit.errors import InputError
from rewardkit.media.prompts import read
from rewardkit.shapes.detect import DetectedShape
from rewardkit.shapes.judge import correct
from rewardkit.shapes.prompts import (
    LISTS,
    RELATIONS,
    TASKS,
    balanced,
    lies,
    parse,
    prompts,
    scene,
    write_lists,
)
from rewardkit.shapes.world import COLOURS, SHAPES

THINGS = st.tuples(st.sampled_from(SHAPES), st.sampled_from([None, *COLOURS]))


def said(thing):
    shape, colour = thing
    return f"a {colour} {shape}" if colour else f"a {shape}"


# (prompt, things, relation), the sentence made here and not by the grammar's own code.
SENTENCES = st.one_of(
    THINGS.map(lambda one: (said(one), (one,), None)),
    st.tuples(THINGS, THINGS).map(lambda two: (f"{said(two[0])} and {said(two[1])}", two, None)),
    st.tuples(THINGS, THINGS, st.sampled_from(list(RELATIONS))).map(
        lambda three: (f"{said(three[0])} {three[2]} {said(three[1])}", three[:2], three[2])
    ),
    st.sampled_from(
        [
            (f"{word} {plural}", ((shape, None),) * number, None)
            for word, number in [("two", 2), ("three", 3), ("four", 4)]
            for plural, shape in [
                ("squares", "square"),
                ("triangles", "triangle"),
                ("crosses", "cross"),
                ("rings", "ring"),
            ]
        ]
    ),
)


@given(SENTENCES)
def test_every_sentence_of_the_grammar_parses_back_to_itself(sentence):
    prompt, things, relation = sentence
    asked = parse(prompt)
    assert (asked.prompt, asked.things, asked.relation) == (prompt, things, relation)
    assert parse("  " + prompt.upper().replace(" ", "\n ")) == asked


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "ring",
        "a photo of a ring",
        "a pink ring",
        "a ring and a cross and a square",
        "a ring beside a cross",
        "two ring",
        "five rings",
        "two red rings",
        "a ring.",
    ],
)
def test_any_other_sentence_is_refused_with_the_words_there_are(prompt):
    with pytest.raises(InputError, match=r"is not a prompt for shapes.*ring.*purple"):
        parse(prompt)


# What a prompt asks for, told apart by rules of this test's own.
def meaning(prompt):
    asked = parse(prompt)
    if asked.relation is None:
        return asked.task, frozenset(Counter(asked.things).items())
    order = asked.things if asked.relation in ("left of", "above") else asked.things[::-1]
    return asked.task, "beside" if asked.relation in ("left of", "right of") else "over", order


def test_what_is_held_out_is_never_trained_on_however_it_is_said():
    for task in TASKS:
        train, held_out = ({meaning(p) for p in prompts(s)[task]} for s in ("train", "held-out"))
        assert not train & held_out
        assert len(held_out) == -(-len(train | held_out) // 3), "a third, rounded up"
        assert {parse(p).task for p in prompts("train")[task]} == {task}
    assert "a ring left of a cross" in prompts("train")["position"]
    assert "a cross right of a ring" in prompts("train")["position"]


# By hand, of 4 shapes and 6 colours: 4; 4*3; 4*3 numbers; 4*6; 4*3*4 relations; 6 pairs * 6*5.
def test_every_combination_can_be_asked_for():
    both = {task: {*prompts("train")[task], *prompts("held-out")[task]} for task in TASKS}
    assert [len(both[task]) for task in TASKS] == [4, 12, 12, 24, 48, 180]
    assert all(parse(prompt).prompt == prompt for task in TASKS for prompt in both[task])


def test_the_split_is_the_one_that_the_weights_were_trained_on():
    held_out = "\n".join(prompt for task in TASKS for prompt in prompts("held-out")[task])
    digest = hashlib.sha256(held_out.encode()).hexdigest()
    assert digest.startswith("a18489d25d6e837b"), "another split: train every checkpoint again"


def test_a_balanced_list_takes_the_tasks_in_turn_and_repeats_small_ones():
    chosen = balanced("held-out", 5)
    assert [parse(prompt).task for prompt in chosen] == list(TASKS) * 5
    single = prompts("held-out")["single_object"]
    assert chosen[::6] == [single[i % 2] for i in range(5)] and len(single) == 2
    assert len(set(chosen[5::6])) == 5


@pytest.mark.parametrize(
    "line",
    [
        {
            "tag": "single_object",
            "include": [{"class": "ring", "count": 1}],
            "prompt": "a ring",
        },
        {
            "tag": "two_object",
            "include": [{"class": "ring", "count": 1}, {"class": "cross", "count": 1}],
            "prompt": "a ring and a cross",
        },
        {
            "tag": "counting",
            "include": [{"class": "cross", "count": 3}],
            "exclude": [{"class": "cross", "count": 4}],
            "prompt": "three crosses",
        },
        {
            "tag": "colors",
            "include": [{"class": "square", "count": 1, "color": "purple"}],
            "prompt": "a purple square",
        },
        {
            "tag": "position",
            "include": [
                {"class": "cross", "count": 1},
                {"class": "ring", "count": 1, "position": ["left of", 0]},
            ],
            "prompt": "a ring left of a cross",
        },
        {
            "tag": "color_attr",
            "include": [
                {"class": "ring", "count": 1, "color": "red"},
                {"class": "cross", "count": 1, "color": "blue"},
            ],
            "prompt": "a red ring and a blue cross",
        },
    ],
    ids=lambda line: line["tag"],
)
def test_the_metadata_is_genevals_line(line):
    assert parse(line["prompt"]).metadata == line


@given(SENTENCES, st.integers(0, 2**32))
def test_a_scene_shows_what_its_prompt_asks_for(sentence, seed):
    asked = parse(sentence[0])
    things = scene(asked, np.random.default_rng(seed))
    assert correct(asked, [DetectedShape(one.shape, one.colour, one.box, 1.0) for one in things])


# (dx, dy), y downwards. The cosine with the direction must be above 1/2: within 60 degrees.
@pytest.mark.parametrize(
    ("offset", "relations"),
    [
        ((-8, 0), {"left of"}),
        ((8, 0), {"right of"}),
        ((0, -8), {"above"}),
        ((0, 8), {"below"}),
        ((-8, -8), {"left of", "above"}),  # 45 degrees from both
        ((24, 8), {"right of"}),  # 8 / 25.3 = 0.32 downwards
        ((0, 0), set()),
    ],
)
def test_a_relation_is_a_direction_within_sixty_degrees(offset, relations):
    assert {relation for relation in RELATIONS if lies(relation, offset)} == relations


def test_the_lists_of_the_package_are_those_the_grammar_gives(tmp_path):
    write_lists(tmp_path)
    for name in ("train.jsonl", "held-out.jsonl"):
        assert (LISTS / name).read_bytes() == (tmp_path / name).read_bytes()
        told = read(f"package:rewardkit.shapes/lists/{name}")
        assert [line.prompt for line in told[:2]] and told[0].meta["tag"] == "single_object"
