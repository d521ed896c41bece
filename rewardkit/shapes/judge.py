"""Verdicts on whether an image shows what its prompt asks for, and partial credit."""

from __future__ import annotations

from collections.abc import Sequence

from rewardkit.shapes.detect import DetectedShape
from rewardkit.shapes.prompts import ParsedPrompt, lies


def correct(parsed: ParsedPrompt, found: Sequence[DetectedShape]) -> bool:
    """Whether the image shows exactly the requested objects, colours and relation."""
    return len(found) == len(parsed.things) and graded(parsed, found) == 1.0


def graded(parsed: ParsedPrompt, found: Sequence[DetectedShape]) -> float:
    """Partial credit in [0, 1]; 1 if and only if `correct`.

        credit = sum over requested objects of (1 right shape and colour | 1/2 right shape | 0)
        graded = credit / max(number requested, number found) * (1 right relation | 1/2 otherwise)

    An object of a wrong or unknown shape earns nothing and increases the denominator. If it earned
    credit, training on this score would produce hybrids of two shapes.
    """
    credit = sum(
        _credit([c for s, c in parsed.things if s == shape], [f for f in found if f.shape == shape])
        for shape in {shape for shape, _ in parsed.things}
    )
    share = credit / max(len(parsed.things), len(found))
    return share if parsed.relation is None or _related(parsed, found) else share / 2


def _credit(colours: list[str | None], found: list[DetectedShape]) -> float:
    """Credit for the objects of one shape; each found object counts for one requested object."""
    left = [thing.colour for thing in found]
    named = [colour for colour in colours if colour is not None]
    right = 0
    for colour in named:
        if colour in left:
            left.remove(colour)
            right += 1
    # A request without a colour accepts any; a wrong colour gets half the credit.
    anything = min(len(colours) - len(named), len(left))
    wrong = min(len(named) - right, len(left) - anything)
    return right + anything + wrong / 2


def _related(parsed: ParsedPrompt, found: Sequence[DetectedShape]) -> bool:
    assert parsed.relation is not None
    first, second = (_meant(*thing, found) for thing in parsed.things)
    return any(
        lies(
            parsed.relation, (thing.centre[0] - other.centre[0], thing.centre[1] - other.centre[1])
        )
        for thing in first
        for other in second
        if thing is not other
    )


def _meant(shape: str, colour: str | None, found: Sequence[DetectedShape]) -> list[DetectedShape]:
    """The objects that match a request: of its shape and colour, or else of its shape alone."""
    of_shape = [thing for thing in found if thing.shape == shape]
    return [thing for thing in of_shape if colour in (None, thing.colour)] or of_shape
