"""Two score tables of the same items, pair by pair: what changed, and how sure that is.

Scores of one prompt are not independent, so prompts are what is resampled: `clusters` says how, as
it does for two results of a benchmark.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardkit.errors import InputError
from rewardkit.records.rows import Row, Table

if TYPE_CHECKING:
    from rewardkit.stats.clusters import Difference


@dataclass(frozen=True)
class Column:
    """One score of the paired rows.

    Attributes:
        null_before: pairs whose first score is null.
        null_after: pairs whose second score is null.
        paired: the comparison of the pairs that have both; None where no pair has.
    """

    null_before: int
    null_after: int
    paired: Difference | None


@dataclass(frozen=True)
class Comparison:
    """Two score tables, compared.

    Attributes:
        pairs: how many rows are in both.
        prompts: how many different prompts they have.
        clusters: how many independent parts: prompts, and rows without a prompt one by one; all
            rows where there is one prompt alone, for then they are all there is to learn from.
        rows_only_before: how many rows are in the first alone.
        rows_only_after: how many rows are in the second alone.
        other_prompt: pairs whose two prompts differ, such as the first of them; it counts.
        columns: by reward, in the order of the first table; `total` last, where both have it.
        rewards_only_before: scores that the first table alone has.
        rewards_only_after: scores that the second table alone has.
    """

    pairs: int
    prompts: int
    clusters: int
    rows_only_before: int
    rows_only_after: int
    other_prompt: Sequence[str]
    columns: dict[str, Column]
    rewards_only_before: list[str]
    rewards_only_after: list[str]


def compare_tables(before: Table, after: Table, on: str = "id") -> Comparison:
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
        other_prompt=[one.id for one, other in pairs if _nfc(one.prompt) != _nfc(other.prompt)],
        columns=columns,
        rewards_only_before=[name for name in names if name not in others],
        rewards_only_after=[name for name in others if name not in names],
    )


def _by_key(table: Table, on: str, side: str) -> dict[str, Row]:
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
    return {key: alike[0] if len(alike) == 1 else _average(alike) for key, alike in rows.items()}


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


def _column(pairs: Sequence[tuple[Row, Row]], clusters: Sequence[int], name: str) -> Column:
    from rewardkit.stats.clusters import compare

    scores = [(_score(one, name), _score(other, name)) for one, other in pairs]
    both = [
        (one, other, cluster)
        for (one, other), cluster in zip(scores, clusters, strict=True)
        if one is not None and other is not None
    ]
    found = None
    if both:
        before, after, of = zip(*both, strict=True)
        found = compare(before, after, of, [""] * len(both), "items").headline
    return Column(
        null_before=sum(one is None for one, _ in scores),
        null_after=sum(other is None for _, other in scores),
        paired=found,
    )
