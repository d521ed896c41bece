"""From detected objects to a verdict: GenEval's rules, as upstream applies them.

Of every class the objects scored above 0.3 count (above 0.9 where the task is counting), the best
first, 16 at most; boxes that overlap are all kept. An include clause looks at the first `count` of
them and at no others: there must be that many, each of the colour, each lying as asked to each of
the objects of an earlier clause, which must itself hold. An exclude clause wants fewer than its
`count`.

So every task but counting asks for "at least": what else a picture shows costs nothing.

Source: https://github.com/djghosh13/geneval, evaluation/evaluate_images.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rewardkit.errors import InputError
from rewardkit.geneval.metadata import MAX_OBJECTS, Included, Metadata, parse_metadata
from rewardkit.geneval.names import Relation

THRESHOLD = 0.3
COUNTING_THRESHOLD = 0.9
# The share of both boxes' sizes that an offset must exceed along an axis, to count along it.
MARGIN = 0.1
# How far an offset must lean, as a share of its length, to lie that way.
LEAN = 0.5
# Pixels; an offset that exceeds the margin by less along both axes lies nowhere.
_NOWHERE = 1e-3

Boxes: TypeAlias = NDArray[np.float32]
ColourOf: TypeAlias = Callable[[str, Boxes], Sequence[str]]
Kind: TypeAlias = Literal["missing", "colour", "position", "no-target", "excess"]


@dataclass(frozen=True)
class Reason:
    """Why a picture is wrong: the first thing that one clause lacks.

    Attributes:
        clause: which one: its list and its index there.
        kind: "missing" and "excess" objects, another "colour" or "position", or "no-target": the
            clause that a position is told from does not hold.
        numbers: of missing and excess objects `expected` (the clause's count) and `found`; of
            colours these, counting objects of the right one, and all `colours` with their counts;
            of a position the relation `expected` and the `relations` of the first two objects
            that lie otherwise.
    """

    clause: tuple[Literal["include", "exclude"], int]
    kind: Kind
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Whether a picture shows what was asked for, and if not, why: a reason per clause."""

    correct: bool
    reasons: tuple[Reason, ...]


def judge(
    metadata: Metadata | Mapping[str, Any],
    detections: Mapping[str, NDArray[Any]],
    colour_of: ColourOf,
) -> Verdict:
    """Whether a picture shows what `metadata` asks for.

    Args:
        metadata: parsed, or a line as `parse_metadata` takes it; of any classes and colours.
        detections: for each class found, rows `(x1, y1, x2, y2, score)`, `[n, 5]`, all that the
            detector gave; read and compared as float32. Of equal scores the later row comes first,
            as a stable ascending sort, read backwards, has it; upstream's sort leaves that open.
        colour_of: a class and some of its rows, `[m, 5]`, to the m names of their colours. Asked
            only where a clause names a colour and there are enough objects.

    Raises:
        InputError: the metadata is wrong, or a row is not five finite numbers.
    """
    asked = _read(metadata)
    found = _Found(asked, detections, colour_of)
    reasons = []
    groups: list[Boxes | None] = []
    for index, clause in enumerate(asked.include):
        lack = _lack(clause, found, groups)
        groups.append(None if lack else found.first(clause))
        if lack:
            reasons.append(Reason(("include", index), *lack))
    for index, excluded in enumerate(asked.exclude):
        number = len(found.objects[excluded.name])
        if number >= excluded.count:
            numbers = {"expected": excluded.count, "found": number}
            reasons.append(Reason(("exclude", index), "excess", numbers))
    return Verdict(correct=not reasons, reasons=tuple(reasons))


def credit(
    metadata: Metadata | Mapping[str, Any],
    detections: Mapping[str, NDArray[Any]],
    colour_of: ColourOf,
) -> float:
    """How much of what `metadata` asks for a picture shows, in [0, 1]; 1 exactly where `correct`.

    Not of GenEval. With f objects found by an include clause, f <= count:

        credit = mean over include clauses of (mean of what the clause asks for)
                 * product over exclude clauses of min(1, (count - 1) / number found)
        what a clause asks for:
            count     f / count
            color     objects of f that have it / count
            position  pairs of f and of the other clause's that lie so / (count * other's count)

    Things of classes that are not asked for earn nothing, and too many cost their share: where
    n things are to be counted, m earn m / n, or n / m where there are more.

    Args and errors are those of `judge`; colours are asked for also where objects are missing.
    """
    asked = _read(metadata)
    found = _Found(asked, detections, colour_of)
    earned = 0.0
    for clause in asked.include:
        first = found.first(clause)
        parts = [len(first) / clause.count]
        if clause.color is not None:
            parts.append(found.colours(clause).count(clause.color) / clause.count)
        if clause.position is not None:
            relation, other = clause.position[0], asked.include[clause.position[1]]
            pairs = [(a, b) for a in first for b in found.first(other)]
            lying = sum(relation in relations(a, b) for a, b in pairs)
            parts.append(lying / (clause.count * other.count))
        earned += sum(parts) / len(parts)
    kept = 1.0
    for excluded in asked.exclude:
        number = len(found.objects[excluded.name])
        if number >= excluded.count:
            kept *= (excluded.count - 1) / number
    return earned / len(asked.include) * kept


def counted(rows: NDArray[Any], tag: str) -> Boxes:
    """The detections of a class that count in a task, the best scored first.

    Args:
        rows: `(x1, y1, x2, y2, score)`, `[n, 5]`.
        tag: the task.

    Raises:
        InputError: a row is not five finite numbers.
    """
    rows = np.asarray(rows, np.float32)
    if rows.ndim != 2 or rows.shape[1] != 5 or not np.isfinite(rows).all():
        raise InputError(
            f"detections of shape {list(rows.shape)} given; they are rows of five finite numbers "
            "(x1, y1, x2, y2, score)"
        )
    threshold = np.float32(COUNTING_THRESHOLD if tag == "counting" else THRESHOLD)
    order = np.argsort(rows[:, 4], kind="stable")[::-1]
    return rows[order[rows[order, 4] > threshold][:MAX_OBJECTS]]


def relations(box: Boxes, other: Boxes) -> frozenset[Relation]:
    """How an object lies to another: no relation, one, or two, on a diagonal.

        o = centre - other's centre
        s = sign(o) max(|o| - MARGIN (size + other's size), 0)    per axis
        left of: s_x / |o| < -LEAN    right of: s_x / |o| > LEAN    above, below: s_y, likewise

    The length is that of the whole offset, so objects that nearly overlap lie nowhere. Computed in
    float32, as upstream does.

    Args:
        box: `(x1, y1, x2, y2, ...)`, y downwards.
        other: likewise.
    """
    (low, high), (other_low, other_high) = (
        np.asarray(one[:4], np.float32).reshape(2, 2) for one in (box, other)
    )
    offset = (low + high) / 2 - (other_low + other_high) / 2
    margin = MARGIN * (np.abs(high - low) + np.abs(other_high - other_low))
    shrunk = np.sign(offset) * np.maximum(np.abs(offset) - margin, 0)
    if (np.abs(shrunk) < _NOWHERE).all():
        return frozenset()
    x, y = shrunk / np.linalg.norm(offset)
    leaning: dict[Relation, bool] = {
        "left of": x < -LEAN,
        "right of": x > LEAN,
        "above": y < -LEAN,
        "below": y > LEAN,
    }
    return frozenset(relation for relation, holds in leaning.items() if holds)


class _Found:
    """The objects that count, of every class that is asked about."""

    def __init__(
        self, asked: Metadata, detections: Mapping[str, NDArray[Any]], colour_of: ColourOf
    ) -> None:
        none = np.zeros((0, 5), np.float32)
        names = {clause.name for clause in (*asked.include, *asked.exclude)}
        self.objects = {name: counted(detections.get(name, none), asked.tag) for name in names}
        self._colour_of = colour_of

    def first(self, clause: Included) -> Boxes:
        """The objects that a clause looks at."""
        return self.objects[clause.name][: clause.count]

    def colours(self, clause: Included) -> list[str]:
        """Their colours."""
        first = self.first(clause)
        colours = list(self._colour_of(clause.name, first)) if len(first) else []
        if len(colours) != len(first):
            raise ValueError(f"{len(colours)} colours given for {len(first)} objects")
        return colours


def _read(metadata: Metadata | Mapping[str, Any]) -> Metadata:
    if isinstance(metadata, Metadata):
        return metadata
    return parse_metadata(metadata, classes=None, colours=None)


def _lack(
    clause: Included, found: _Found, groups: Sequence[Boxes | None]
) -> tuple[Kind, Mapping[str, Any]] | None:
    """What an include clause lacks, and None where it holds.

    `groups` are the objects of the earlier clauses, None where one does not hold.
    """
    first = found.first(clause)
    if len(first) < clause.count:
        return "missing", {"expected": clause.count, "found": len(first)}
    if clause.color is not None:
        colours = Counter(found.colours(clause))
        right = colours[clause.color]
        if right < clause.count:
            numbers = {"expected": clause.count, "found": right, "colours": dict(+colours)}
            return "colour", numbers
    if clause.position is not None:
        relation, target = clause.position[0], groups[clause.position[1]]
        if target is None:
            return "no-target", {}
        for one in first:
            for other in target:
                lying = relations(one, other)
                if relation not in lying:
                    return "position", {"expected": relation, "relations": sorted(lying)}
    return None
