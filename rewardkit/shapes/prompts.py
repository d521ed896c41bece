"""The prompts: GenEval's six tasks with shapes instead of objects.

    prompt := thing | thing "and" thing | thing relation thing | number plural
    thing  := "a" [colour] shape

A *combination* is what a prompt asks for, regardless of the wording: "a ring left of a cross" and
"a cross right of a ring" are the same combination. A third of the combinations of each task is held
out: neither the training of the built-in models nor training on rewards uses them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations, product
from math import ceil
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from rewardkit.errors import InputError
from rewardkit.records.storage import atomic_write
from rewardkit.shapes.world import COLOURS, SHAPES, Thing, places

Split = Literal["train", "held-out"]
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
LISTS = Path(__file__).with_name("lists")
# Lines per task in a list.
PER_TASK: dict[Split, int] = {"train": 32, "held-out": 16}
NUMBERS = {"two": 2, "three": 3, "four": 4}
_PLURALS = {shape: "crosses" if shape == "cross" else shape + "s" for shape in SHAPES}
_SINGULARS = {plural: shape for shape, plural in _PLURALS.items()}
# Direction from the second object to the first, along (x, y).
RELATIONS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
_OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}

_THING = rf"a (?:({'|'.join(COLOURS)}) )?({'|'.join(SHAPES)})"
_GRAMMAR = re.compile(
    rf"(?:{_THING}(?: (and|{'|'.join(RELATIONS)}) {_THING})?"
    rf"|({'|'.join(NUMBERS)}) ({'|'.join(_SINGULARS)}))"
)


@dataclass(frozen=True)
class ParsedPrompt:
    """What a prompt asks for: exactly these objects.

    Attributes:
        task: GenEval's name of the task.
        things: shape and colour of each object; None means any colour.
        relation: position of the first object relative to the second, one of RELATIONS.
    """

    task: str
    things: tuple[tuple[str, str | None], ...]
    relation: str | None = None

    @property
    def prompt(self) -> str:
        """The text of the prompt."""
        if self.task == "counting":
            number = next(word for word, n in NUMBERS.items() if n == len(self.things))
            return f"{number} {_PLURALS[self.things[0][0]]}"
        said = [f"a {colour} {shape}" if colour else f"a {shape}" for shape, colour in self.things]
        return f" {self.relation or 'and'} ".join(said)

    @property
    def combination(self) -> str:
        """A canonical prompt, equal for all wordings of the same request."""
        first, second = self.things[0], self.things[-1]
        if self.relation in ("right of", "below"):
            return ParsedPrompt(self.task, (second, first), _OPPOSITE[self.relation]).prompt
        if self.relation is None:
            return ParsedPrompt(self.task, tuple(sorted(self.things, key=str))).prompt
        return self.prompt

    @property
    def metadata(self) -> dict[str, Any]:
        """The equivalent line of GenEval's `evaluation_metadata.jsonl`."""
        if self.task == "counting":
            (shape, _), number = self.things[0], len(self.things)
            include = [{"class": shape, "count": number}]
            exclude = [{"class": shape, "count": number + 1}]
            return {
                "tag": self.task,
                "include": include,
                "exclude": exclude,
                "prompt": self.prompt,
            }
        clauses: list[dict[str, Any]] = [
            {"class": shape, "count": 1, **({"color": colour} if colour else {})}
            for shape, colour in self.things
        ]
        if self.relation:  # GenEval lists the reference object first.
            clauses = [clauses[1], clauses[0] | {"position": [self.relation, 0]}]
        return {"tag": self.task, "include": clauses, "prompt": self.prompt}


class TaskPrompt(Protocol):
    """A parsed prompt, of images or of clips."""

    @property
    def prompt(self) -> str:
        """The text of the prompt."""

    @property
    def combination(self) -> str:
        """Equal for all wordings of the same request."""


@cache
def parse(prompt: str) -> ParsedPrompt:
    """What `prompt` asks for.

    Raises:
        InputError: the prompt does not match the grammar.
    """
    match = _GRAMMAR.fullmatch(" ".join(prompt.casefold().split()))
    if match is None:
        raise InputError(
            f"{prompt!r} is not a prompt for shapes. Accepted are: a ring | a red ring | three "
            "rings | a red ring and a blue cross | a ring left of a cross; shapes: "
            f"{', '.join(SHAPES)}; colours: {', '.join(COLOURS)}; relations: "
            f"{', '.join(RELATIONS)}; numbers: {', '.join(NUMBERS)}"
        )
    colour, shape, joint, other_colour, other_shape, number, plural = match.groups()
    if number:
        return ParsedPrompt("counting", ((_SINGULARS[plural], None),) * NUMBERS[number])
    if joint is None:
        return ParsedPrompt("colors" if colour else "single_object", ((shape, colour),))
    things = ((shape, colour), (other_shape, other_colour))
    if joint != "and":
        return ParsedPrompt("position", things, joint)
    return ParsedPrompt("color_attr" if colour or other_colour else "two_object", things)


@cache
def prompts(split: Split) -> dict[str, tuple[str, ...]]:
    """The prompts of a split by task, in a fixed shuffled order."""
    return {task: of_split(_all(task), split) for task in TASKS}


def balanced(split: Split, per_task: int) -> list[str]:
    """`per_task` prompts of each task, tasks in turn; a task with fewer prompts repeats them."""
    return in_turn(prompts(split), per_task)


def of_split(requests: Iterable[TaskPrompt], split: Split) -> tuple[str, ...]:
    """The prompts of the requests in a split, shuffled: a third of the combinations is held out."""
    ordered = sorted(requests, key=lambda request: _shuffled(request.prompt))
    kinds = sorted({request.combination for request in ordered}, key=_shuffled)
    held_out = set(kinds[: ceil(len(kinds) / 3)])
    return tuple(
        request.prompt
        for request in ordered
        if (request.combination in held_out) == (split == "held-out")
    )


def in_turn(by_task: Mapping[str, Sequence[str]], per_task: int) -> list[str]:
    """`per_task` prompts of each task, tasks in turn; a task with fewer prompts repeats them."""
    return [texts[i % len(texts)] for i in range(per_task) for texts in by_task.values()]


def write_lists(folder: Path) -> None:
    """Write `train.jsonl` and `held-out.jsonl`: balanced prompts as lines of GenEval's metadata.

    `python -m rewardkit.shapes.prompts` writes the lists of the package.
    """
    for split, per_task in PER_TASK.items():
        lines = [json.dumps(parse(prompt).metadata) + "\n" for prompt in balanced(split, per_task)]
        with atomic_write(folder / f"{split}.jsonl") as temporary:
            temporary.write_text("".join(lines), "utf-8")


def scene(parsed: ParsedPrompt, rng: np.random.Generator) -> list[Thing]:
    """A random scene that shows exactly what the prompt asks for."""
    while True:
        cells = places(len(parsed.things), rng)
        (row, column), (other_row, other_column) = cells[0], cells[-1]
        offset = (column - other_column, row - other_row)
        if parsed.relation is None or lies(parsed.relation, offset):
            break
    return [
        Thing(shape, colour or str(rng.choice(list(COLOURS))), *cell)
        for (shape, colour), cell in zip(parsed.things, cells, strict=True)
    ]


def lies(relation: str, offset: tuple[float, float]) -> bool:
    """Whether an object at `offset` (x, y) from another is in that relation to it.

    GenEval's rule: the component of the unit offset in that direction is above 0.5, so an object on
    the diagonal is both left of the other and above it.
    """
    x, y = RELATIONS[relation]
    length = float(np.hypot(*offset))
    return length > 0 and (offset[0] * x + offset[1] * y) / length > 0.5


def _all(task: str) -> Iterable[ParsedPrompt]:
    if task == "single_object":
        return [ParsedPrompt(task, ((shape, None),)) for shape in SHAPES]
    if task == "counting":
        return [
            ParsedPrompt(task, ((shape, None),) * n)
            for shape, n in product(SHAPES, NUMBERS.values())
        ]
    if task == "colors":
        return [
            ParsedPrompt(task, ((shape, colour),)) for shape, colour in product(SHAPES, COLOURS)
        ]
    pairs = list(permutations(SHAPES, 2))
    if task == "position":
        return [
            ParsedPrompt(task, ((a, None), (b, None)), relation)
            for (a, b), relation in product(pairs, RELATIONS)
        ]
    if task == "two_object":
        return [ParsedPrompt(task, ((a, None), (b, None))) for a, b in pairs]
    # One order of each pair of shapes; the other order asks for the same.
    return [
        ParsedPrompt(task, ((a, colour), (b, other)))
        for (a, b), (colour, other) in product(combinations(SHAPES, 2), permutations(COLOURS, 2))
    ]


def _shuffled(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    write_lists(LISTS)
