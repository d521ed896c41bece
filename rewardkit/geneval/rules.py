"""GenEval's rules, which turn detected objects into a verdict, as upstream applies them.

For each class, objects with a score above 0.3 count (above 0.9 in the counting task), at most 16,
highest score first; overlapping boxes are all kept. An include clause considers only the first
`count` of them. There must be that many, each must have the colour, and each must be in the
required relation to every object of an earlier clause, which must itself hold. An exclude clause
requires fewer objects than its `count`.

Hence every task except counting requires "at least": other objects in an image cost nothing.

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
# An offset counts along an axis if it exceeds this share of the sizes of both boxes.
MARGIN = 0.1
# Minimum component of an offset in a direction, as a share of its length.
LEAN = 0.5
# In pixels; an offset that exceeds the margin by less along both axes has no relation.
_NOWHERE = 1e-3

Boxes: TypeAlias = NDArray[np.float32]
ColourOf: TypeAlias = Callable[[str, Boxes], Sequence[str]]
Kind: TypeAlias = Literal["missing", "colour", "position", "no-target", "excess"]


@dataclass(frozen=True)
class Reason:
    """Why an image is wrong: the first requirement of a clause that is not met.

    Attributes:
        clause: the list of the clause and its index in it.
        kind: "missing" or "excess" objects, a wrong "colour" or "position", or "no-target": the
            clause that a position refers to does not hold.
        numbers: for missing and excess objects, `expected` (the clause's count) and `found`; for
            colours, the same for objects of the right colour, and all `colours` with their counts;
            for a position, the `expected` relation and the `relations` of the first two objects
            that violate it.
    """

    clause: tuple[Literal["include", "exclude"], int]
    kind: Kind
    numbers: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Whether an image shows what its prompt asks for; if not, one reason per failed clause."""

    correct: bool
    reasons: tuple[Reason, ...]


def judge(
    metadata: Metadata | Mapping[str, Any],
    detections: Mapping[str, NDArray[Any]],
    colour_of: ColourOf,
) -> Verdict:
    """Judge whether an image shows what `metadata` asks for.

    Args:
        metadata: parsed, or a line for `parse_metadata`; with any classes and colours.
        detections: rows `(x1, y1, x2, y2, score)`, `[n, 5]`, for each detected class: all
            detections, compared as float32. Of equal scores the later row comes first, as in a
            reversed stable ascending sort; the order of upstream's sort is undefined there.
        colour_of: maps a class and some of its rows, `[m, 5]`, to the names of their m colours.
            Called only if a clause names a colour and there are enough objects.

    Raises:
        InputError: the metadata is invalid, or a row is not five finite numbers.
    """
    parsed = _read(metadata)
    found = _Found(parsed, detections, colour_of)
    reasons = []
    groups: list[Boxes | None] = []
    for index, clause in enumerate(parsed.include):
        lack = _lack(clause, found, groups)
        groups.append(None if lack else found.first(clause))
        if lack:
            reasons.append(Reason(("include", index), *lack))
    for index, excluded in enumerate(parsed.exclude):
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
    """Partial credit for what `metadata` asks for, in [0, 1]; 1 if and only if `correct`.

    This is not part of GenEval. With f objects found for an include clause, f <= count:

        credit = mean over include clauses of (mean of what the clause asks for)
                 * product over exclude clauses of min(1, (count - 1) / number found)
        what a clause asks for:
            count     f / count
            color     objects of f with that colour / count
            position  pairs with the other clause's objects in that relation / (count * other count)

    Objects of other classes earn nothing, and excess objects reduce the credit: if n objects are
    requested, m objects earn m / n, or n / m if m > n.

    Arguments and errors are those of `judge`; `colour_of` is also called if objects are missing.
    """
    parsed = _read(metadata)
    found = _Found(parsed, detections, colour_of)
    earned = 0.0
    for clause in parsed.include:
        first = found.first(clause)
        parts = [len(first) / clause.count]
        if clause.color is not None:
            parts.append(found.colours(clause).count(clause.color) / clause.count)
        if clause.position is not None:
            relation, other = clause.position[0], parsed.include[clause.position[1]]
            pairs = [(a, b) for a in first for b in found.first(other)]
            lying = sum(relation in relations(a, b) for a, b in pairs)
            parts.append(lying / (clause.count * other.count))
        earned += sum(parts) / len(parts)
    kept = 1.0
    for excluded in parsed.exclude:
        number = len(found.objects[excluded.name])
        if number >= excluded.count:
            kept *= (excluded.count - 1) / number
    return earned / len(parsed.include) * kept


def counted(rows: NDArray[Any], tag: str) -> Boxes:
    """The detections of a class that count in a task, highest score first.

    Args:
        rows: `(x1, y1, x2, y2, score)`, `[n, 5]`.
        tag: the task.

    Raises:
        InputError: a row is not five finite numbers.
    """
    rows = np.asarray(rows, np.float32)
    if rows.ndim != 2 or rows.shape[1] != 5 or not np.isfinite(rows).all():
        raise InputError(
            f"detections must be rows of five finite numbers (x1, y1, x2, y2, score); got shape "
            f"{list(rows.shape)}"
        )
    threshold = np.float32(COUNTING_THRESHOLD if tag == "counting" else THRESHOLD)
    order = np.argsort(rows[:, 4], kind="stable")[::-1]
    return rows[order[rows[order, 4] > threshold][:MAX_OBJECTS]]


def relations(box: Boxes, other: Boxes) -> frozenset[Relation]:
    """The relations of an object to another: none, one, or, on a diagonal, two.

        o = centre - other's centre
        s = sign(o) max(|o| - MARGIN (size + other's size), 0)    per axis
        left of: s_x / |o| < -LEAN    right of: s_x / |o| > LEAN    above, below: s_y, likewise

    |o| is the length of the full offset, so objects that nearly overlap have no relation. Computed
    in float32, as upstream does.

    Args:
        box: `(x1, y1, x2, y2, ...)`, with y pointing down.
        other: the other box, in the same form.
    """
    (low, high), (other_low, other_high) = (
        np.asarray(corners[:4], np.float32).reshape(2, 2) for corners in (box, other)
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
    """The objects that count, for each class in the metadata."""

    def __init__(
        self, parsed: Metadata, detections: Mapping[str, NDArray[Any]], colour_of: ColourOf
    ) -> None:
        none = np.zeros((0, 5), np.float32)
        names = {clause.name for clause in (*parsed.include, *parsed.exclude)}
        self.objects = {name: counted(detections.get(name, none), parsed.tag) for name in names}
        self._colour_of = colour_of

    def first(self, clause: Included) -> Boxes:
        """The objects that a clause considers."""
        return self.objects[clause.name][: clause.count]

    def colours(self, clause: Included) -> list[str]:
        """The colours of the objects that a clause considers."""
        first = self.first(clause)
        colours = list(self._colour_of(clause.name, first)) if len(first) else []
        if len(colours) != len(first):
            raise ValueError(f"colour_of returned {len(colours)} colours for {len(first)} objects")
        return colours


def _read(metadata: Metadata | Mapping[str, Any]) -> Metadata:
    if isinstance(metadata, Metadata):
        return metadata
    return parse_metadata(metadata, classes=None, colours=None)


def _lack(
    clause: Included, found: _Found, groups: Sequence[Boxes | None]
) -> tuple[Kind, Mapping[str, Any]] | None:
    """The requirement of an include clause that is not met, or None if it holds.

    `groups` holds the objects of the earlier clauses, or None for a clause that does not hold.
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
        for box in first:
            for other in target:
                lying = relations(box, other)
                if relation not in lying:
                    return "position", {"expected": relation, "relations": sorted(lying)}
    return None
