"""Clips of moving shapes: grammar, rendering and the judge of motion."""

import numpy as np
import pytest

from rewardkit.errors import InputError
from rewardkit.media.images import open_rgb
from rewardkit.media.prompts import read
from rewardkit.shapes.detect import detect
from rewardkit.shapes.motion import (
    FRAMES,
    LISTS,
    TASKS,
    MotionPrompt,
    Moving,
    balanced,
    clip,
    motion,
    parse,
    prompts,
    render,
    shown,
    write_lists,
)

LEFT = parse("a red ring moving left")


def test_a_prompt_is_parsed_and_written_back() -> None:
    both = parse("A ring moving  left and a blue cross standing still")
    assert both == MotionPrompt(
        (Moving("ring", None, "moving left"), Moving("cross", "blue", "standing still"))
    )
    assert both.prompt == "a ring moving left and a blue cross standing still"
    assert [parse(text).task for text in ("a ring moving up", LEFT.prompt, both.prompt)] == [*TASKS]


@pytest.mark.parametrize(
    "prompt",
    ["", "a red ring", "a ring moving", "a ring moving left and a ring moving up", "two rings"],
)
def test_another_prompt_is_refused_with_what_is_accepted(prompt: str) -> None:
    with pytest.raises(InputError, match="a ring moving left"):
        parse(prompt)


def test_no_combination_is_in_both_splits() -> None:
    for task in TASKS:
        train, held_out = (
            {parse(text).combination for text in prompts(split)[task]}
            for split in ("train", "held-out")
        )
        assert train and held_out and not train & held_out
        assert len(held_out) == pytest.approx(len(train | held_out) / 3, abs=1)


def test_every_training_shape_colour_and_motion_occurs_in_each_split() -> None:
    for split in ("train", "held-out"):
        things = [thing for text in prompts(split)["color_moving"] for thing in parse(text).things]
        assert len({t.shape for t in things}) == 4
        assert len({t.colour for t in things}) == 6
        assert len({t.motion for t in things}) == 5


def test_a_moving_shape_is_displaced_by_two_cells() -> None:
    frames = clip(LEFT, [(1, 3)], ["red"])
    assert frames.shape == (FRAMES, 3, 32, 32)
    boxes = [found[0].box for found in detect(frames)]
    assert boxes[0] == (24, 8, 31, 15) and boxes[-1] == (8, 8, 15, 15)
    assert [box[0] for box in boxes] == [*range(24, 7, -2)]


@pytest.mark.parametrize("split", ["train", "held-out"])
def test_a_rendered_clip_shows_its_prompt_and_no_other_motion(split: str) -> None:
    rng = np.random.default_rng(0)
    for text in balanced(split, 8):  # type: ignore[arg-type]
        parsed = parse(text)
        found = detect(render(parsed, rng))
        assert motion(parsed, found) == 1.0
        assert motion(parsed, found[::-1]) == (
            1.0 if all(t.motion == "standing still" for t in parsed.things) else 0.0
        )


def test_the_score_is_the_share_of_right_steps() -> None:
    frames = clip(LEFT, [(1, 3)], ["red"])
    frozen = np.concatenate([frames[:3], np.repeat(frames[2:3], 6, axis=0)])
    assert motion(LEFT, detect(frozen)) == 2 / 8
    assert motion(parse("a red ring standing still"), detect(frozen)) == 6 / 8
    frames[4] = frames[0] * 0  # one frame without the shape spoils two steps
    assert motion(LEFT, detect(np.maximum(frames, 26))) == 6 / 8


def test_wrong_colours_extra_shapes_and_changes_of_colour_are_wrong() -> None:
    red = detect(clip(LEFT, [(1, 3)], ["red"]))
    blue = detect(clip(LEFT, [(1, 3)], ["blue"]))
    two = parse("a red ring moving left and a cross moving left")
    crossed = detect(clip(two, [(1, 3), (3, 3)], ["red", "green"]))
    uncoloured = parse("a ring moving left")
    assert motion(LEFT, blue) == motion(LEFT, crossed) == 0.0
    assert motion(two, crossed) == motion(uncoloured, blue) == 1.0
    assert motion(uncoloured, [*red[:4], *blue[4:]]) == 7 / 8


def test_the_lists_of_the_package_are_what_the_code_writes(tmp_path) -> None:  # type: ignore[no-untyped-def]
    write_lists(tmp_path)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 4 + (64 + 24) * 3
    for path in written:
        assert (LISTS / path.relative_to(tmp_path)).read_bytes() == path.read_bytes()
    for line in read("package:rewardkit.shapes/lists/first-frame-held-out.jsonl")[:12]:
        frame = open_rgb(line.folder / str(line.meta["image"]))
        assert shown(parse(line.prompt), detect(np.asarray(frame).transpose(2, 0, 1)[None])[0])
