"""Compares two score tables of the same items, pair by pair, with confidence intervals.

Scores of one prompt are not independent, so whole prompts are resampled, as for two results of a
benchmark: see `rewardkit.stats.clusters`.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rewardkit.errors import InputError
from rewardkit.records.alike import differently_scored
from rewardkit.records.frames import frame
from rewardkit.records.rows import Row, Table, read_rows

if TYPE_CHECKING:
    import pandas as pd

    from rewardkit.stats.clusters import PairedDifference

#: The columns by which rows can be paired.
Key = Literal["id", "path", "prompt"]


@dataclass(frozen=True)
class ComparedColumn:
    """One score of the paired rows.

    Attributes:
        null_before: pairs whose first score is null.
        null_after: pairs whose second score is null.
        paired: the comparison of the pairs that have both; None where no pair has.
    """

    null_before: int
    null_after: int
    paired: PairedDifference | None


@dataclass(frozen=True)
class Comparison:
    """Two score tables, compared.

    Attributes:
        pairs: the number of rows that are in both.
        prompts: the number of different prompts of these rows.
        clusters: the number of independent parts: prompts, and each row without a prompt. Where
            there is only one prompt, each row is a part.
        rows_only_before: the number of rows that only the first has.
        rows_only_after: the number of rows that only the second has.
        other_prompt: ids of the pairs whose two prompts differ; the first table's prompt counts.
        columns: by reward, in the order of the first table; `total` last, where both have it.
        rewards_only_before: scores that the first table alone has.
        rewards_only_after: scores that the second table alone has.
        warnings: what makes the two less comparable than they look, one sentence each.
    """

    pairs: int
    prompts: int
    clusters: int
    rows_only_before: int
    rows_only_after: int
    other_prompt: Sequence[str]
    columns: dict[str, ComparedColumn]
    rewards_only_before: list[str]
    rewards_only_after: list[str]
    warnings: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        """One row per reward: the two means, their difference, interval and p-value.

        Raises:
            MissingPackage: the extra `pandas` is not installed.
        """
        return frame(
            {
                "reward": name,
                "null_before": column.null_before,
                "null_after": column.null_after,
                **({"n": 0} if column.paired is None else column.paired.record()),
            }
            for name, column in self.columns.items()
        ).set_index("reward")


def compare(base: str | PathLike[str], other: str | PathLike[str], on: Key = "id") -> Comparison:
    """Compares two score tables in files: is `other` better than `base`?

    As `compare_tables`, with warnings about prompts and settings that differ.

    Raises:
        UsageError: the suffix of a file is unknown.
        InputError: a file is no score table, or `compare_tables` finds nothing to compare.
    """
    found = compare_tables(read_rows(base), read_rows(other), on)
    warnings = list(differently_scored(Path(base), Path(other), found.columns))
    if found.other_prompt:
        warnings.append(
            f"{len(found.other_prompt)} of {found.pairs} pair{'s'[: found.pairs > 1]} had two "
            f"different prompts, such as {found.other_prompt[0]!r}"
        )
    return replace(found, warnings=tuple(warnings))


def compare_tables(before: Table, after: Table, on: Key = "id") -> Comparison:
    """Compares two score tables over the rows that agree in `on`: id, path or prompt.

    Names are compared in Unicode's composed form (NFC). By prompt, the scores of rows that share
    one are averaged first; a prompt has no score where none of its rows has.

    Raises:
        InputError: `on` is null or, but for prompts, repeated in a table; or the tables share no
            row or no score.
    """
    first, second = _by_key(before, on, "first"), _by_key(after, on, "second")
    pairs = [(row, second[key]) for key, row in first.items() if key in second]
    if not pairs:
        raise InputError(
            f"no {on} is in both tables; the first begins with {_head(first)}, the second with "
            f"{_head(second)}. Score the same items twice, or pair rows with --on path or prompt."
        )
    names, others = _scores(before), _scores(after)
    prompts = {_nfc(row.prompt): number for number, (row, _) in enumerate(pairs)}
    number_of = len(prompts.keys() - {None})
    clusters = [
        number if row.prompt is None or len(prompts) == 1 else prompts[_nfc(row.prompt)]
        for number, (row, _) in enumerate(pairs)
    ]
    columns = {name: _column(pairs, clusters, name) for name in names if name in others}
    if all(column.paired is None for column in columns.values()):
        raise InputError(
            f"no row has a score of the same reward in both tables; the first has "
            f"{', '.join(names) or 'none'}, the second {', '.join(others) or 'none'}. "
            "Score both with the same rewards, and see the column error of each."
        )
    return Comparison(
        pairs=len(pairs),
        prompts=number_of,
        clusters=len(set(clusters)),
        rows_only_before=len(first) - len(pairs),
        rows_only_after=len(second) - len(pairs),
        other_prompt=[row.id for row, match in pairs if _nfc(row.prompt) != _nfc(match.prompt)],
        columns=columns,
        rewards_only_before=[name for name in names if name not in others],
        rewards_only_after=[name for name in others if name not in names],
    )


def _by_key(table: Table, on: Key, side: str) -> dict[str, Row]:
    rows: dict[str, list[Row]] = {}
    for number, row in enumerate(table.rows, start=1):
        key = _nfc({"id": row.id, "path": row.path, "prompt": row.prompt}[on])
        if key is None:
            raise InputError(f"row {number} of the {side} table has no {on}. Pair rows by id.")
        if key in rows and on != "prompt":
            raise InputError(
                f"{on} {key!r} is in the {side} table more than once; pairs need it unique. "
                "Remove the rows that repeat it, or pair rows by another --on."
            )
        rows.setdefault(key, []).append(row)
    return {key: same[0] if len(same) == 1 else _average(same) for key, same in rows.items()}


def _average(rows: Sequence[Row]) -> Row:
    """One row with the means of the scores that there are."""
    first = rows[0]
    scores = {name: _mean(row.scores[name] for row in rows) for name in first.scores}
    return Row(first.id, first.path, first.prompt, scores, _mean(row.total for row in rows))


def _mean(scores: Iterable[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return math.fsum(known) / len(known) if known else None


def _nfc(text: str | None) -> str | None:
    return None if text is None else unicodedata.normalize("NFC", text)


def _head(rows: dict[str, Row]) -> str:
    return repr(next(iter(rows))) if rows else "nothing"


def _scores(table: Table) -> list[str]:
    return [*table.rewards, *(["total"] if table.with_total else [])]


def _score(row: Row, name: str) -> float | None:
    return row.total if name == "total" else row.scores[name]


def _column(pairs: Sequence[tuple[Row, Row]], clusters: Sequence[int], name: str) -> ComparedColumn:
    from rewardkit.stats.clusters import compare as compare_values

    scores = [(_score(row, name), _score(match, name)) for row, match in pairs]
    both = [
        (before, after, cluster)
        for (before, after), cluster in zip(scores, clusters, strict=True)
        if before is not None and after is not None
    ]
    paired = None
    if both:
        befores, afters, cluster_of = zip(*both, strict=True)
        paired = compare_values(befores, afters, cluster_of, [""] * len(both), "items").headline
    return ComparedColumn(
        null_before=sum(before is None for before, _ in scores),
        null_after=sum(after is None for _, after in scores),
        paired=paired,
    )
