"""Scores by name in a text, such as "Style Score (1-5): 4"; their mean is the score.

The form of UnifiedReward (https://arxiv.org/abs/2503.05236).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from statistics import fmean
from typing import Any, Literal, Self, final

from pydantic import Field, model_validator

from rewardkit.judging.completion import Completion
from rewardkit.judging.template import JudgeTemplate
from rewardkit.media.batch import Sample

_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_OUT_OF = r"(?:\s*points?\b)?[\s,]*[(\[]?\s*(?:/|out\s+of\b|of\b(?=\s*\d))"
# A scale in brackets may stand before the colon; what is out of how much, after the number. It is
# sought in one line: a colon at the end of a line belongs to no number of the next.
_STATED = (
    r"(?<!\w){name}(?:\s+score)?\s*(?:\([^()]*\))?\s*[:=]\s*"
    rf"(?P<score>{_NUMBER})(?!\d|[.,]\d)(?:{_OUT_OF}\s*(?P<of>{_NUMBER})(?!\d|[.,]\d))?"
    rf"(?!\s*(?:[-\u2013\u2014]|to\b|or\b)\s*\d|\s*%|{_OUT_OF})"
)


@final
class ScoresTemplate(JudgeTemplate):
    """A question that scores by name answer.

    Attributes:
        names: of the scores; all of them have to be there.
        lowest: the lowest score.
        highest: the highest score.
    """

    form: Literal["scores"]
    names: tuple[str, ...] = Field(min_length=1)
    lowest: float
    highest: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.lowest < self.highest:
            raise ValueError("lowest is below highest")
        return self

    @property
    def range(self) -> tuple[float, float]:
        """That of each score."""
        return self.lowest, self.highest

    @property
    def unit(self) -> str:
        """Points of the scale."""
        return f"points, {self.lowest:g} to {self.highest:g}"

    def parse(self, completion: Completion, sample: Sample) -> float:
        """The mean of the scores, wherever in the text they are.

        Raises:
            JudgeError: one is missing, out of range, or stated with two values.
        """
        return fmean(self._score(name, completion) for name in self.names)

    def _score(self, name: str, completion: Completion) -> float:
        text = re.sub(r"[*_`]", "", completion.text)  # emphasis of Markdown
        pattern = _STATED.replace("{name}", re.escape(name))
        stated = [
            match
            for line in text.splitlines()
            for match in re.finditer(pattern, line, re.IGNORECASE)
        ]
        values = {float(match["score"]) for match in stated}
        if len(values) != 1:
            number = "states no" if not values else "states several values of the"
            raise completion.error(f"the judge {number} score {name!r}")
        if any(match["of"] is not None and float(match["of"]) != self.highest for match in stated):
            raise completion.error(f"the judge scored {name!r} on another scale")
        (value,) = values
        if not self.lowest <= value <= self.highest:
            raise completion.error(
                f"the score {name!r} is {value:g}, out of the range {self.lowest:g} to "
                f"{self.highest:g}"
            )
        return value

    def example(self, share: float, question: str) -> Mapping[str, Any]:
        """All scores at that share of the range."""
        value = self.lowest + share * (self.highest - self.lowest)
        text = "\n".join(f"{name} Score: {value:.6f}" for name in self.names)
        return {"message": {"content": text}}
