"""A shard: the part of a benchmark that one of several processes or machines runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, final

from benchmarks.prompts import Case
from rewardkit.errors import UsageError


@final
@dataclass(frozen=True)
class Shard:
    """Shard `number`, from 1, of `total`: every total-th prompt with all its samples."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """A shard written "3/8".

        Raises:
            UsageError: the text is not a shard.
        """
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(f"a shard is written 3/8, the third of eight; {text!r} was given")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def of(self, cases: Sequence[Case]) -> Sequence[Case]:
        """The cases of this shard.

        Raises:
            UsageError: there are fewer cases than shards.
        """
        if self.total > len(cases):
            raise UsageError(
                f"{self.total} shards or processes of {len(cases)} prompts leave some empty; use "
                f"{len(cases)} or fewer"
            )
        return cases[self.number - 1 :: self.total]


WHOLE = Shard(1, 1)
