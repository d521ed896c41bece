"""A JSON object whose list "score" has an entry per point: test points, or fixed criteria.

The forms of UniGenBench (https://arxiv.org/abs/2508.18966), with the points of the prompt's line,
and of VIEScore (https://arxiv.org/abs/2312.14867), with the points of the template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from statistics import fmean, geometric_mean
from typing import Any, ClassVar, Literal, Self, final

from pydantic import Field, model_validator

from rewardkit.judging.completion import Completion
from rewardkit.judging.template import JudgeTemplate, texts_of
from rewardkit.media.batch import Sample

KEY = "points"  # of the prompt's line


@final
class PointsTemplate(JudgeTemplate):
    """A question that a list of scores answers.

    Attributes:
        points: what is scored; None takes the list under "points" of the prompt's line.
        lowest: the lowest entry.
        highest: the highest entry.
        whole: whether entries are whole numbers.
        combine: what makes one score of them.
    """

    PLACES: ClassVar[frozenset[str]] = JudgeTemplate.PLACES | {"points"}

    form: Literal["list"]
    points: tuple[str, ...] | None = Field(default=None, min_length=1)
    lowest: float
    highest: float
    whole: bool = False
    combine: Literal["mean", "geometric mean"] = "mean"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.lowest < self.highest:
            raise ValueError("lowest is below highest")
        if self.combine == "geometric mean" and self.lowest < 0:
            raise ValueError("a geometric mean has no negative numbers: lowest is at least 0")
        if "{points}" not in self.text:
            raise ValueError("the text has no {points}, which lists what is scored")
        return self

    @property
    def range(self) -> tuple[float, float]:
        """That of each entry."""
        return self.lowest, self.highest

    @property
    def unit(self) -> str:
        """A share of points, or points of the scale."""
        if self.whole and self.range == (0, 1):
            return "share of points"
        return f"points, {self.lowest:g} to {self.highest:g}"

    @property
    def needs_meta(self) -> tuple[str, ...]:
        """The points, where the template has none."""
        return () if self.points is not None else (KEY,)

    def places(self, sample: Sample) -> dict[str, str]:
        """See `JudgeTemplate.places`."""
        numbered = (f"{number}. {point}" for number, point in enumerate(self._of(sample), 1))
        return {**super().places(sample), "points": "\n".join(numbered)}

    def _of(self, sample: Sample) -> list[str]:
        return texts_of(sample.meta, KEY) if self.points is None else list(self.points)

    def parse(self, completion: Completion, sample: Sample) -> float:
        """The mean of the entries.

        Raises:
            JudgeError: there is no such list, or it has another length or an entry out of range.
        """
        expected = len(self._of(sample))
        lists = [found["score"] for found in _objects(completion.text) if "score" in found]
        if not lists:
            raise completion.error('the judge returned no JSON object with a list "score"')
        entries = lists[0]
        if any(other != entries for other in lists):
            raise completion.error('the judge returned several lists "score"')
        if not isinstance(entries, list) or len(entries) != expected:
            raise completion.error(f'"score" is not a list of {expected} numbers, one per point')
        for entry in entries:
            number = isinstance(entry, int | float) and not isinstance(entry, bool)
            if not number or not self.lowest <= entry <= self.highest:
                raise completion.error(
                    f"the entry {entry!r} is not a number from {self.lowest:g} to {self.highest:g}"
                )
            if self.whole and entry != int(entry):
                raise completion.error(f"the entry {entry!r} is not a whole number")
        if self.combine == "mean":
            return fmean(entries)
        return geometric_mean(entries) if all(entries) else 0.0

    def example(self, share: float, question: str) -> Mapping[str, Any]:
        """As many entries as the question numbers, at that share of the range, in the mean."""
        number = len(re.findall(r"^\d+\. ", question, re.MULTILINE))
        value = self.lowest + share * (self.highest - self.lowest)
        entries: list[float] = [value] * number
        if self.whole:
            ones = round(share * number)
            entries = [self.highest] * ones + [self.lowest] * (number - ones)
        return {"message": {"content": json.dumps({"score": entries})}}


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, which may have prose around them."""
    decoder = json.JSONDecoder(strict=False)  # models break lines inside of strings
    start = text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except RecursionError:  # it would be met again at each of the brackets
            return
        except ValueError:
            end = start + 1
        else:
            yield found
        start = text.find("{", end)
