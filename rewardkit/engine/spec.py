"""The language of rewards: `hps+clip`, `0.7*hps+1.4*clip`, `hps@0.28`.

    spec := term ("+" term)*        term := [weight "*"] name ["@" threshold]

`name@threshold` is the binary reward: 1.0 where the raw score is above the threshold, else 0.0,
before the weight. Parsing resolves names (`hps` -> `hps.v2.1`), so what is printed, and recorded
with results, is unambiguous; printing and parsing round-trip.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rewardkit.errors import UsageError

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
# A name is a registered one, FILE.py:NAME or SCHEME:PLACE, such as clip:owner/name: all but the
# grammar's own signs may stand in it. A place may be a name again, as in win-rate:clip:owner/name.
_SCHEME = r"[A-Za-z][A-Za-z-]+:"
_TERM = re.compile(
    rf"\s*(?:(?P<weight>{_NUMBER})\s*\*\s*)?(?P<name>[^\s+*@]+)\s*"
    rf"(?:@\s*(?P<threshold>{_NUMBER})\s*)?"
)


@dataclass(frozen=True)
class RewardTerm:
    """One reward of a spec; `weight` and `threshold` are None where none was written."""

    name: str
    weight: float | None = None
    threshold: float | None = None

    def __str__(self) -> str:
        weight = "" if self.weight is None else f"{self.weight!r}*"
        threshold = "" if self.threshold is None else f"@{self.threshold!r}"
        return f"{weight}{self.name}{threshold}"

    def value(self, raw: float) -> float:
        """The term's value of a raw score: thresholded, then weighted."""
        if self.threshold is not None:
            raw = 1.0 if raw > self.threshold else 0.0
        return raw if self.weight is None else self.weight * raw


@dataclass(frozen=True)
class RewardSpec:
    """Several rewards to compute, and how they add up."""

    terms: tuple[RewardTerm, ...]

    def __str__(self) -> str:
        return "+".join(str(term) for term in self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """The rewards to compute, each once, in the order written."""
        return tuple(dict.fromkeys(term.name for term in self.terms))

    @property
    def has_total(self) -> bool:
        """Whether the terms may be added: only where each one states its scale.

        Raw scores of different rewards have different units; a sum nobody weighted means nothing.
        """
        return all(t.weight is not None or t.threshold is not None for t in self.terms)

    def total(self, scores: Mapping[str, float | None]) -> float | None:
        """The weighted sum of one sample's raw scores; None where a score is missing."""
        values = [(term, scores[term.name]) for term in self.terms]
        if not self.has_total or any(raw is None for _, raw in values):
            return None
        return math.fsum(term.value(raw) for term, raw in values if raw is not None)


def user_file(name: str) -> str | None:
    """The file of FILE.py:NAME, also behind schemes; None of any other name."""
    match = re.fullmatch(rf"(?:{_SCHEME})*(?P<file>.+\.py):[^:]*", name)
    return match["file"] if match else None


def local_folder(name: str) -> str | None:
    """The folder of SCHEME:FOLDER, which begins with "." or "/"; None of any other name."""
    match = re.fullmatch(rf"(?:{_SCHEME})+(?P<folder>[./].*)", name)
    return match["folder"] if match else None


def parse(text: str, resolve: Callable[[str], str]) -> RewardSpec:
    """A spec from its text; `resolve` turns each written name into a registered one.

    Raises:
        UsageError: pointing at the character where the text stops being a spec, or at the name
            that is unknown or stands twice.
    """
    terms: list[RewardTerm] = []
    position = 0
    while True:
        match = _TERM.match(text, position)
        if match is None:
            raise _error(text, position, "a reward name is missing here")
        weight, threshold = (
            None if match[part] is None else _finite(text, match.start(part), match[part])
            for part in ("weight", "threshold")
        )
        try:
            name = resolve(match["name"])
        except UsageError as error:
            raise _error(text, match.start("name"), str(error)) from error
        term = RewardTerm(name, weight, threshold)
        if any((t.name, t.threshold) == (term.name, term.threshold) for t in terms):
            raise _error(text, match.start("name"), f"{name} stands twice in the spec")
        terms.append(term)
        position = match.end()
        if position == len(text):
            return RewardSpec(tuple(terms))
        if text[position] != "+":
            expected = "a number" if text[position] in "@*" else "'+' or the end"
            raise _error(text, position, f"{expected} is expected here")
        position += 1


def _finite(text: str, position: int, number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise _error(text, position, f"{number} is too large")
    return value


def _error(text: str, position: int, what: str) -> UsageError:
    pointer = " " * position + "^"
    return UsageError(
        f"{what}\n  {text}\n  {pointer}\n"
        "A reward spec is terms joined by '+', a term is [weight*]name[@threshold]: "
        "'hps+clip', '0.7*hps+1.4*clip', 'hps@0.28'"
    )
