"""A wrong line of metadata is found when it is read, and the message says what is wrong."""

import json
import os
from pathlib import Path

import pytest
from golden.detections import own_lines

from rewardkit.errors import InputError
from rewardkit.geneval.metadata import parse_metadata
from rewardkit.geneval.names import COLOURS
from rewardkit.shapes.prompts import parse, prompts
from rewardkit.shapes.world import COLOURS as SHAPES_COLOURS
from rewardkit.shapes.world import SHAPES

CUP = {"class": "cup", "count": 1}
DOG = {"class": "dog", "count": 1}


def line(*include, **more):
    return {"tag": "position", "include": list(include), **more}


def test_a_line_is_read():
    place = DOG | {"color": "red", "position": ["left of", 0]}
    found = parse_metadata(line(CUP, place, exclude=[CUP | {"count": 2}], prompt="a cup", id="7"))
    assert found.tag == "position"
    cup, dog = found.include
    assert (cup.name, cup.count, cup.color, cup.position) == ("cup", 1, None, None)
    assert (dog.color, dog.position) == ("red", ("left of", 0))
    assert [(clause.name, clause.count) for clause in found.exclude] == [("cup", 2)]


def test_lines_in_upstreams_format_are_right():
    for line in own_lines():
        parse_metadata(line)


@pytest.mark.data
def test_the_official_lines_are_right():
    file = Path(os.environ["REWARDKIT_TEST_DATA"], "geneval", "evaluation_metadata.jsonl")
    for text in file.read_text("utf-8").splitlines():
        line = json.loads(text)
        found = parse_metadata(line).model_dump(by_alias=True, mode="json", exclude_none=True)
        assert found == {"exclude": []} | {k: v for k, v in line.items() if k != "prompt"}


def test_the_shapes_world_asks_in_its_own_words():
    lines = [parse(line).metadata for task in prompts("held-out").values() for line in task]
    for line in lines:
        parse_metadata(line, SHAPES, SHAPES_COLOURS)
    with pytest.raises(InputError, match="unknown class"):
        parse_metadata(lines[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"include": [CUP]}, "^GenEval metadata: tag is missing$"),
        ({"tag": "position"}, "include is missing"),
        (line(), "include: "),
        (line(CUP) | {"tag": "countin"}, "tag: .*'counting'.*'countin' given"),
        (line({"class": "cup"}), "include.0.count is missing"),
        (line({"count": 1}), "include.0.class is missing"),
        (line(CUP | {"count": 0}), "include.0.count: .*0 given"),
        (line(CUP | {"count": 17}), "include.0.count: .*16.*17 given"),
        (line(CUP | {"count": "2"}), "include.0.count: .*'2' given"),
        (line(CUP | {"count": True}), "include.0.count"),
        (line(CUP | {"colour": "red"}), "include.0.colour: "),
        (line(CUP | {"class": "cupp"}), "unknown class 'cupp'. Did you mean 'cup'"),
        (line(CUP | {"class": "Cup"}), "unknown class 'Cup'. Did you mean 'cup'"),
        (line(CUP | {"color": "gren"}), "unknown color 'gren'. Did you mean 'green'"),
        (line(CUP, DOG | {"position": ["left", 0]}), r"include.1.position.0: .*'left' given"),
        (line(CUP, DOG | {"position": ["left of", -1]}), "include.1.position.1: .*-1 given"),
        (line(CUP, DOG | {"position": ["left of", 1]}), "include.1.position names clause 1"),
        (line(CUP | {"position": ["left of", 1]}, DOG), "include.0.position names clause 1"),
        (line(CUP, exclude=[DOG | {"color": "red"}]), "exclude.0.color"),
        (line(CUP, exclude=[{"class": "dgo", "count": 1}]), "unknown class 'dgo'"),
        (line(CUP, exlude=[DOG]), "unknown key 'exlude'. Did you mean 'exclude'"),
    ],
)
def test_a_wrong_line_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        parse_metadata(wrong)


def test_the_place_of_a_line_is_told():
    with pytest.raises(InputError, match=r"^prompts\.jsonl, line 3: tag is missing"):
        parse_metadata({"include": [CUP]}, where="prompts.jsonl, line 3")


def test_any_words_are_taken_where_none_are_given():
    odd = line({"class": "blob", "count": 1, "color": "teal"})
    assert parse_metadata(odd, None, None).include[0].color == "teal"
    with pytest.raises(InputError, match="unknown class"):
        parse_metadata(odd, colours=None)
    with pytest.raises(InputError, match="unknown color"):
        parse_metadata(odd, {"blob"}, COLOURS)
