"""GenEval's metadata and detections at every edge of its rules, made from seeds.

Numbers are drawn by `RandomState`, whose streams are frozen; they are few and exact in float32, so
that equal scores, diagonals and boxes at a threshold are common.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from golden.cases import FOLDER
from pydantic import BaseModel, ConfigDict

from rewardkit.geneval.names import CLASSES, COLOURS, TAGS

SCENES = 10_000
_OWN_LINES = 500
# Below, at and above both thresholds, and well away from them.
_EDGES = [
    np.nextafter(np.float32(edge), np.float32(toward)) for edge in (0.3, 0.9) for toward in (0, 1)
]
_SCORES = np.array([*_EDGES, 0.3, 0.9, 0.1, 0.5, 0.95, 0.95, 0.99], np.float32)
_GOOD_SCORES = np.array([*_EDGES[3:], 0.95, 0.97, 0.99], np.float32)
_SIDES = (0, 10, 20, 25, 40, 100)
_STEPS = (-40, -30, -20, -10, 0, 10, 20, 30, 40)
_WAYS = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


@dataclass(frozen=True)
class Scene:
    """What a detector found: of each class rows `[n, 5]`, and the colour of each."""

    detections: Mapping[str, np.ndarray]
    colours: Mapping[str, Sequence[str]]

    def colour_of(self, name: str, rows: np.ndarray) -> list[str]:
        """The colours of some rows; rows of a class are all different."""
        index = {row.tobytes(): i for i, row in enumerate(self.detections[name])}
        return [self.colours[name][index[row.tobytes()]] for row in rows]


def own_lines() -> list[dict[str, Any]]:
    """Metadata in upstream's format, which asks for more than upstream's own lines do."""
    return [_line(np.random.RandomState(seed), TAGS[seed % 6]) for seed in range(_OWN_LINES)]


def scenes(lines: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Scene]]:
    """SCENES scenes, each with its line, lines in turn."""
    for seed in range(SCENES):
        line = lines[seed % len(lines)]
        yield line, _scene(line, np.random.RandomState(seed))


class Verdicts(BaseModel):
    """What upstream said of `scenes`.

    Attributes:
        upstream: repository@commit.
        command: run from this repository's root, writes the file again.
        versions: of the libraries that can change a verdict.
        correct: a bit per scene, packed, in base64.
        reasons: of a scene the number of one of `texts`; empty where only bits are kept.
        texts: different reasons, as `told` writes them.
    """

    model_config = ConfigDict(extra="forbid")

    upstream: str
    command: str
    versions: dict[str, str]
    correct: str
    reasons: list[int]
    texts: list[str]

    def write(self, name: str) -> None:
        """Write the file."""
        text = self.model_dump_json(indent=None)
        (FOLDER / "geneval" / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, name: str) -> Verdicts:
        """The golden file of that name."""
        return cls.model_validate_json((FOLDER / "geneval" / f"{name}.json").read_bytes())

    def bits(self) -> list[bool]:
        """Of each scene, whether it is correct."""
        packed = np.frombuffer(base64.b64decode(self.correct), np.uint8)
        return np.unpackbits(packed, count=SCENES).astype(bool).tolist()


def packed(correct: Sequence[bool]) -> str:
    """Bits as `Verdicts.correct` holds them."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def told(kind: str, index: int, *numbers: str | int | Mapping[str, int] | Sequence[str]) -> str:
    """A reason as golden files have it; several things are told in alphabetical order."""
    words = []
    for number in numbers:
        if isinstance(number, Mapping):
            number = [f"{count} {name}" for name, count in number.items()]
        words.append(str(number) if isinstance(number, str | int) else ", ".join(sorted(number)))
    return " ".join([kind, str(index), *words])


def _line(rng: np.random.RandomState, tag: str) -> dict[str, Any]:
    one, other, third = ({"class": CLASSES[i], "count": 1} for i in rng.permutation(80)[:3])
    red, blue = ({"color": COLOURS[i]} for i in rng.permutation(10)[:2])
    several = {"count": int(rng.choice([1, 1, 2, 3]))}
    number = int(rng.choice([2, 3, 4, 15, 16]))
    exclude: list[dict[str, Any]] = []
    if tag == "single_object":
        include = [one | several]
    elif tag == "two_object":
        include = [one, other]
        exclude = [third, one | {"count": 2}] if rng.rand() < 0.3 else []
    elif tag == "counting":
        include = [one | {"count": number}]
        exclude = [one | {"count": min(number + 1, 16)}]
    elif tag == "colors":
        include = [one | several | red]
    elif tag == "color_attr":
        include = [one | red, other | several | blue]
    else:
        relation = list(_WAYS)[rng.randint(4)]
        include = [one, other | several | {"position": [relation, 0]}]
        if rng.rand() < 0.5:
            target = int(rng.randint(2))
            include[0] |= red
            include.append(third | blue | {"position": ["left of", target]})
    return {"tag": tag, "include": include} | ({"exclude": exclude} if exclude else {})


def _scene(line: Mapping[str, Any], rng: np.random.RandomState) -> Scene:
    detections, colours, centres = {}, {}, []
    helpful = rng.rand() < 0.6  # or it would hardly ever be correct
    for clause in [*line["include"], *line.get("exclude", ())]:
        name, count = clause["class"], clause["count"]
        if name in detections or ("exclude" in line and helpful and clause in line["exclude"]):
            continue
        centres.append(_centre(clause, centres, rng, helpful))
        number = count + rng.choice([0, 0, 0, 1]) if helpful else _number(count, rng)
        rows, names = [], []
        for _ in range(number):
            middle = centres[-1] + rng.choice([0, 0, 5], 2)
            half = rng.choice(_SIDES[: 4 if helpful else None], 2) / 2
            score = rng.choice(_GOOD_SCORES if helpful and rng.rand() < 0.9 else _SCORES)
            row = np.array([*(middle - half), *(middle + half), score], np.float32)
            if any(np.array_equal(row, one) for one in rows):
                row[:4] += len(rows) + 1
            rows.append(row)
            liked = "color" in clause and rng.rand() < (0.95 if helpful else 0.6)
            names.append(clause["color"] if liked else COLOURS[rng.randint(10)])
        detections[name], colours[name] = np.array(rows, np.float32).reshape(-1, 5), names
    return Scene(detections, colours)


def _number(count: int, rng: np.random.RandomState) -> int:
    return max(0, int(rng.choice([0, 1, 2, 17, 20, count - 1, count, count + 1])))


def _centre(
    clause: Mapping[str, Any], others: list[Any], rng: np.random.RandomState, helpful: bool
) -> Any:
    if "position" not in clause or not helpful:
        return np.array([200.0, 200.0]) + rng.choice(_STEPS, 2)
    way, target = np.array(_WAYS[clause["position"][0]]), others[clause["position"][1]]
    # (30, 40), half of it shrunk away, leans by exactly 0.5.
    return target + rng.choice([30, 40]) * way + rng.choice([-40, -30, 0, 30, 40]) * way[::-1]
