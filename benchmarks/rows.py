"""The rows of a result: one per picture or clip, named for its tags, prompt and sample."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from benchmarks.prompts import JOIN
from rewardkit.errors import InputError
from rewardkit.records.rows import Table

if TYPE_CHECKING:
    import pandas as pd

_ID = re.compile(r"(?P<stratum>[\w.+-]+)/(?P<index>[0-9]{1,9})-(?P<sample>[0-9]{1,9})")


#: Stratum, index of the prompt, and number of the sample.
Place = tuple[str, int, int]


@final
@dataclass(frozen=True)
class ScoredSample:
    """A picture or clip with its scores by reward; None where there is no score.

    Attributes:
        stratum: the tags of its prompt, joined.
        index: its prompt's place in the list.
        sample: its number among those of the prompt.
        scores: by reward, not scaled.
        cluster: the first prompt of its stratum with the same text, because lines that repeat a
            prompt are no further evidence about prompts; None where texts are not known.
    """

    stratum: str
    index: int
    sample: int
    scores: Mapping[str, float | None]
    cluster: int | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """The parts of the benchmark that its prompt serves."""
        return tuple(self.stratum.split(JOIN))

    @property
    def prompt(self) -> int:
        """The number of the prompt it counts for in intervals and tests."""
        return self.index if self.cluster is None else self.cluster


def scored(table: Table) -> list[ScoredSample]:
    """The rows of a result.

    Raises:
        InputError: the id of a row is not that of a benchmark.
    """
    cluster = clusters(table)
    return [
        ScoredSample(*place(row.id), scores=row.scores, cluster=cluster[row.id])
        for row in table.rows
    ]


def clusters(table: Table) -> dict[str, int]:
    """The prompt of each row, by id: the first of its stratum that has the same text.

    A row without a prompt counts for the line of the benchmark it was made for.

    Raises:
        InputError: the id of a row is not that of a benchmark.
    """
    first: dict[tuple[str, str], int] = {}
    found = {}
    for row in sorted(table.rows, key=lambda row: place(row.id)):
        stratum, index, _ = place(row.id)
        prompt = row.prompt
        found[row.id] = index if prompt is None else first.setdefault((stratum, prompt), index)
    return found


def place(id: str) -> Place:
    """Stratum, prompt and sample that the id of a row names.

    Raises:
        InputError: it is not such an id.
    """
    match = _ID.fullmatch(id)
    if match is None:
        raise InputError(f"{id!r} is not the id of a row; such an id is written TAG/00012-03")
    return match["stratum"], int(match["index"]), int(match["sample"])


def frame_of(table: Table) -> pd.DataFrame:
    """The rows of a result as a DataFrame.

    Columns: `id`; what it names, which is `tags` (joined with "+"), `index` of the prompt and
    `sample`; then `path`, `prompt`, a float32 column per reward (not scaled), `total` where the
    table has one, and `error`. A failed score is missing (NaN), with its reason as `error`.

    Raises:
        InputError: the id of a row is not that of a benchmark.
        MissingPackage: the extra `pandas` is not installed.
    """
    frame = table.to_pandas()
    places = [place(row.id) for row in table.rows]
    for column, values in enumerate(zip(*places, strict=True), start=1):
        frame.insert(column, ("tags", "index", "sample")[column - 1], list(values))
    return frame


def checksum(parts: Sequence[str]) -> str:
    """Checksums added up, modulo 2^256."""
    return f"{sum(int(part, 16) for part in parts) % 2**256:064x}"
