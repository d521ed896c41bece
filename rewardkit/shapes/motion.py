"""Clips of moving shapes: prompts, rendering, and the judge of what moves where.

    prompt := moving | moving "and" moving
    moving := "a" [colour] shape "moving" direction | "a" [colour] shape "standing still"

A clip has 9 frames of 32x32 pixels at 8 frames per second. A moving shape is displaced by 2 pixels
per frame, so by two cells of the grid of `world` from the first frame to the last. As with images,
a third of the combinations of each task is held out from all training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, permutations, product
from math import hypot
from pathlib import Path

import numpy as np

from rewardkit.errors import InputError
from rewardkit.records.storage import atomic_write
from rewardkit.shapes.detect import DetectedShape
from rewardkit.shapes.prompts import LISTS, Split, in_turn, of_split
from rewardkit.shapes.world import BACKGROUND, CELL, COLOURS, MASKS, SHAPES, SIZE

FRAMES, FPS, SPEED = 9, 8.0, 2
TASKS = ("moving", "color_moving", "two_moving")
# Displacement along (x, y), with y pointing down, and its words.
DIRECTIONS = {
    "moving left": (-1, 0),
    "moving right": (1, 0),
    "moving up": (0, -1),
    "moving down": (0, 1),
    "standing still": (0, 0),
}
# Lines per task in a list.
PER_TASK: dict[Split, int] = {"train": 64, "held-out": 24}
# Minimum displacement between two frames, in pixels, that counts as motion: half the speed.
_MOVED = SPEED / 2

_THING = rf"a (?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)}) ({'|'.join(DIRECTIONS)})"
_GRAMMAR = re.compile(rf"{_THING}(?: and {_THING})?")


@dataclass(frozen=True)
class Moving:
    """A requested shape and its motion.

    Attributes:
        shape: one of `world.SHAPES`.
        colour: one of `world.COLOURS`, or None for any.
        motion: one of DIRECTIONS.
    """

    shape: str
    colour: str | None
    motion: str

    def __str__(self) -> str:
        return f"a {self.colour + ' ' if self.colour else ''}{self.shape} {self.motion}"


@dataclass(frozen=True)
class MotionPrompt:
    """What a prompt asks for: exactly these shapes, with these motions. Shapes differ."""

    things: tuple[Moving, ...]

    @property
    def prompt(self) -> str:
        """The text of the prompt."""
        return " and ".join(map(str, self.things))

    @property
    def task(self) -> str:
        """One of TASKS."""
        if len(self.things) == 2:
            return "two_moving"
        return "color_moving" if self.things[0].colour else "moving"

    @property
    def combination(self) -> str:
        """The prompt with its shapes in alphabetical order: equal for both wordings."""
        return MotionPrompt(tuple(sorted(self.things, key=str))).prompt


@cache
def parse(prompt: str) -> MotionPrompt:
    """What `prompt` asks for.

    Raises:
        InputError: the prompt does not match the grammar.
    """
    match = _GRAMMAR.fullmatch(" ".join(prompt.casefold().split()))
    groups = match.groups() if match else ()
    things = (
        tuple(
            Moving(shape, colour, motion)
            for colour, shape, motion in (groups[:3], groups[3:])
            if shape is not None
        )
        if match
        else ()
    )
    if not things or len({thing.shape for thing in things}) < len(things):
        raise InputError(
            f"{prompt!r} is not a prompt for moving shapes. Accepted are: a ring moving left | a "
            "red ring standing still | a ring moving up and a cross moving right (two different "
            f"shapes); shapes: {', '.join(SHAPES)}; colours: {', '.join(COLOURS)}; motions: "
            f"{', '.join(DIRECTIONS)}"
        )
    return MotionPrompt(things)


def is_of_motion(prompt: str) -> bool:
    """Whether a prompt asks for a motion, as those of images do not."""
    return any(words.split()[0] in prompt.casefold().split() for words in DIRECTIONS)


@cache
def prompts(split: Split) -> dict[str, tuple[str, ...]]:
    """The prompts of a split by task, in a fixed shuffled order."""
    return {task: of_split(_all(task), split) for task in TASKS}


def balanced(split: Split, per_task: int) -> list[str]:
    """`per_task` prompts of each task, tasks in turn; a task with fewer prompts repeats them."""
    return in_turn(prompts(split), per_task)


def starts(parsed: MotionPrompt, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Random cells `(row, column)` from which the shapes neither leave the image nor touch."""
    while True:
        cells = [(int(rng.integers(4)), int(rng.integers(4))) for _ in parsed.things]
        paths = [_path(thing, cell) for thing, cell in zip(parsed.things, cells, strict=True)]
        inside = all(path.min() >= 0 and path.max() <= SIZE - CELL for path in paths)
        # A distance of a cell and a half leaves some pixels between the shapes.
        apart = len(paths) == 1 or np.abs(paths[0] - paths[1]).max(axis=1).min() >= 1.5 * CELL
        if inside and apart:
            return cells


def clip(
    parsed: MotionPrompt, cells: Sequence[tuple[int, int]], colours: Sequence[str]
) -> np.ndarray:
    """The frames, uint8 `[9, 3, 32, 32]`, of shapes that start in these cells."""
    frames = np.empty((FRAMES, 3, SIZE, SIZE), np.uint8)
    frames[:] = np.array(BACKGROUND, np.uint8)[:, None, None]
    for thing, cell, colour in zip(parsed.things, cells, colours, strict=True):
        mask, levels = MASKS[thing.shape], np.array(COLOURS[colour], np.uint8)[:, None]
        height, width = mask.shape
        for frame, (x, y) in zip(frames, _path(thing, cell), strict=True):
            frame[:, y : y + height, x : x + width][:, mask] = levels
    return frames


def render(parsed: MotionPrompt, rng: np.random.Generator) -> np.ndarray:
    """A random clip of exactly what the prompt asks for, uint8 `[9, 3, 32, 32]`."""
    colours = [thing.colour or str(rng.choice(list(COLOURS))) for thing in parsed.things]
    return clip(parsed, starts(parsed, rng), colours)


def motion(parsed: MotionPrompt, found: Sequence[Sequence[DetectedShape]]) -> float:
    """Share of the steps from one frame to the next that are right, in [0, 1].

    A step is right if both frames show exactly the requested shapes in the requested colours, no
    shape changes its colour, and each moves as requested: by at least half the speed of this world,
    with a component above 0.5 in the requested direction, or, if it stands still, by less.

    Args:
        parsed: what the clip should show.
        found: the shapes in each frame.

    Raises:
        InputError: there are fewer than two frames, so that nothing can move.
    """
    if len(found) < 2:
        raise InputError(f"motion needs a clip of at least 2 frames; {len(found)} was given")
    shown = [_matched(parsed, frame) for frame in found]
    right = [
        before is not None
        and after is not None
        and all(
            a.colour == b.colour
            and _moved(thing, (b.centre[0] - a.centre[0], b.centre[1] - a.centre[1]))
            for thing, a, b in zip(parsed.things, before, after, strict=True)
        )
        for before, after in pairwise(shown)
    ]
    return sum(right) / len(right)


def shown(parsed: MotionPrompt, found: Sequence[DetectedShape]) -> bool:
    """Whether a frame shows exactly the requested shapes in the requested colours."""
    return _matched(parsed, found) is not None


def write_lists(folder: Path) -> None:
    """Write the lists of prompts, balanced and with their task.

    `motion-SPLIT.jsonl` has texts alone. `first-frame-SPLIT.jsonl` has the same texts, each with a
    first frame in the folder `first-frames`. `python -m rewardkit.shapes.motion` writes those of
    the package.
    """
    from PIL import Image

    (folder / "first-frames").mkdir(parents=True, exist_ok=True)
    for split, per_task in PER_TASK.items():
        rng = np.random.default_rng(0)
        texts, with_frames = [], []
        for index, prompt in enumerate(balanced(split, per_task)):
            parsed, image = parse(prompt), f"first-frames/{split}-{index:03d}.png"
            Image.fromarray(render(parsed, rng)[0].transpose(1, 2, 0)).save(folder / image)
            texts.append({"tag": parsed.task, "prompt": prompt})
            with_frames.append(texts[-1] | {"image": image})
        for name, lines in (("motion", texts), ("first-frame", with_frames)):
            with atomic_write(folder / f"{name}-{split}.jsonl") as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def _path(thing: Moving, cell: tuple[int, int]) -> np.ndarray:
    """The left upper corner `(x, y)` of the shape in each frame, in pixels, `[9, 2]`."""
    row, column = cell
    steps = SPEED * np.arange(FRAMES)[:, None] * np.array(DIRECTIONS[thing.motion])
    return np.array([column * CELL, row * CELL]) + steps


def _matched(parsed: MotionPrompt, found: Sequence[DetectedShape]) -> list[DetectedShape] | None:
    """The found shape of each requested one, or None if the frame shows anything else."""
    by_shape = {detected.shape: detected for detected in found}
    matched = [by_shape.get(thing.shape) for thing in parsed.things]
    if len(found) != len(parsed.things):
        return None
    right = [
        detected
        for thing, detected in zip(parsed.things, matched, strict=True)
        if detected is not None and thing.colour in (None, detected.colour)
    ]
    return right if len(right) == len(matched) else None


def _moved(thing: Moving, offset: tuple[float, float]) -> bool:
    x, y = DIRECTIONS[thing.motion]
    length = hypot(*offset)
    if thing.motion == "standing still":
        return length < _MOVED
    return length >= _MOVED and (offset[0] * x + offset[1] * y) / length > 0.5


def _all(task: str) -> Iterable[MotionPrompt]:
    if task == "moving":
        return [MotionPrompt((Moving(s, None, m),)) for s, m in product(SHAPES, DIRECTIONS)]
    if task == "color_moving":
        return [
            MotionPrompt((Moving(s, c, m),)) for s, c, m in product(SHAPES, COLOURS, DIRECTIONS)
        ]
    # Two shapes, at least one of which moves; both orders ask for the same.
    return [
        MotionPrompt((Moving(a, None, m), Moving(b, None, n)))
        for (a, b), (m, n) in product(permutations(SHAPES, 2), product(DIRECTIONS, repeat=2))
        if (m, n) != ("standing still",) * 2
    ]


if __name__ == "__main__":
    write_lists(LISTS)
