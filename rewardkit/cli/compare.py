"""`rewardkit compare`: two score tables of the same items, pair by pair."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardkit.cli.terminal import echo, shown
from rewardkit.errors import InputError, describe
from rewardkit.records.rows import Row, Table, read_rows, storable
from rewardkit.records.scorefile import meta_path
from rewardkit.records.storage import first_difference

if TYPE_CHECKING:
    from rewardkit.records.stats import PairedComparison

_TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)


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
    paired: PairedComparison | None


@dataclass(frozen=True)
class Comparison:
    """Two score tables, compared.

    Attributes:
        pairs: how many rows are in both.
        rows_only_before: how many rows are in the first alone.
        rows_only_after: how many rows are in the second alone.
        columns: by reward, in the order of the first table; `total` last, where both have it.
        rewards_only_before: scores that the first table alone has.
        rewards_only_after: scores that the second table alone has.
    """

    pairs: int
    rows_only_before: int
    rows_only_after: int
    columns: dict[str, Column]
    rewards_only_before: list[str]
    rewards_only_after: list[str]


def compare_tables(before: Table, after: Table, on: str = "id") -> Comparison:
    """Compares two score tables over the rows that agree in `on`: id, path or prompt.

    Raises:
        InputError: `on` is null or repeated in a table, or the tables share no row or no score.
    """
    first, second = _by_key(before, on, "first"), _by_key(after, on, "second")
    pairs = [(row, second[key]) for key, row in first.items() if key in second]
    if not pairs:
        raise InputError(
            f"no {on} is in both tables; the first begins with {_head(first)}, the second with "
            f"{_head(second)}. Score the same items twice, or pair rows with --on path or prompt."
        )
    names, others = _scores(before), _scores(after)
    columns = {name: _column(pairs, name) for name in names if name in others}
    if all(column.paired is None for column in columns.values()):
        raise InputError(
            f"no row has a score of the same reward in both tables; the first has "
            f"{', '.join(names) or 'none'}, the second {', '.join(others) or 'none'}. "
            "Score both with the same rewards, and see the column error of each."
        )
    return Comparison(
        pairs=len(pairs),
        rows_only_before=len(first) - len(pairs),
        rows_only_after=len(second) - len(pairs),
        columns=columns,
        rewards_only_before=[name for name in names if name not in others],
        rewards_only_after=[name for name in others if name not in names],
    )


def _by_key(table: Table, on: str, side: str) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for number, row in enumerate(table.rows, start=1):
        key = {"id": row.id, "path": row.path, "prompt": row.prompt}[on]
        if key is None:
            raise InputError(f"row {number} of the {side} table has no {on}. Pair rows by id.")
        if key in rows:
            raise InputError(
                f"{on} {key!r} is in the {side} table more than once; pairs need it unique. "
                "Remove the rows that repeat it, or pair rows by another --on."
            )
        rows[key] = row
    return rows


def _head(rows: dict[str, Row]) -> str:
    return repr(next(iter(rows))) if rows else "nothing"


def _scores(table: Table) -> list[str]:
    return [*table.rewards, *(["total"] if table.with_total else [])]


def _score(row: Row, name: str) -> float | None:
    return row.total if name == "total" else row.scores[name]


def _column(pairs: list[tuple[Row, Row]], name: str) -> Column:
    from rewardkit.records.stats import paired

    scores = [(_score(one, name), _score(other, name)) for one, other in pairs]
    both = [(one, other) for one, other in scores if one is not None and other is not None]
    return Column(
        null_before=sum(one is None for one, _ in scores),
        null_after=sum(other is None for _, other in scores),
        paired=paired(*zip(*both, strict=True)) if both else None,
    )


@dataclass(frozen=True)
class _Meta:
    """The part of a .meta.json that decides numbers."""

    rewards: dict[str, dict[str, Any]]
    spec: str | None = None
    sampling: dict[str, Any] | None = None

    def of(self, name: str) -> dict[str, Any]:
        about = {"spec": self.spec} if name == "total" else self.rewards.get(name, {})
        return {**about, "sampling": self.sampling}


def _warnings(before: Path, after: Path, names: Iterable[str]) -> Iterator[str]:
    """One line for each score that the two tables did not get alike, as their .meta.json say."""
    if not (meta_path(before).exists() and meta_path(after).exists()):
        return
    from pydantic import TypeAdapter

    meta = TypeAdapter(_Meta)
    try:
        first, second = (
            meta.validate_json(meta_path(table).read_bytes()) for table in (before, after)
        )
    except (OSError, ValueError) as error:
        yield f"a .meta.json cannot be read, so both may not be scored alike: {describe(error)}"
        return
    for name in names:
        difference = first_difference(first.of(name), second.of(name))
        if difference is not None:
            yield (
                f"{name} was not scored alike, its numbers are not comparable: {difference.key} is "
                f"{difference.before} in {before} and {difference.after} in {after}"
            )


@click.command()
@click.argument("base", type=_TABLE)
@click.argument("other", type=_TABLE)
@click.option(
    "--on",
    type=click.Choice(["id", "path", "prompt"]),
    default="id",
    show_default=True,
    help="What pairs a row of BASE with one of OTHER.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, in full precision.")
def compare(base: Path, other: Path, on: str, as_json: bool) -> None:
    """Compare two score tables of the same items: is OTHER better than BASE?

    For each reward: the pairs that have both scores, the two means, the mean of OTHER - BASE with
    its 95 % bootstrap interval, and the share of pairs that OTHER wins, ties counting half.
    """
    found = compare_tables(read_rows(base), read_rows(other), on)
    for warning in _warnings(base, other, found.columns):
        echo(f"Warning: {warning}", err=True)
    if as_json:
        about = {"base": storable(str(base)), "other": storable(str(other)), "on": on}
        echo(json.dumps({**about, **asdict(found)}, indent=2, allow_nan=False))
    else:
        _print(found)
    echo(
        f"{found.pairs} rows paired on {on}; {found.rows_only_before} only in {base}, "
        f"{found.rows_only_after} only in {other}",
        err=True,
    )
    for names, path in ((found.rewards_only_before, base), (found.rewards_only_after, other)):
        if names:
            echo(f"not compared, for only {path} has it: {', '.join(names)}", err=True)


def _print(found: Comparison) -> None:
    from rich.table import Table as Grid
    from rich.text import Text

    from rewardkit.cli.tables import console

    grid = Grid(box=None, pad_edge=False)
    grid.add_column("reward", overflow="fold")
    headings = ("n", "null", "base", "other", "difference", "95 % interval", "other wins")
    for heading in headings:
        grid.add_column(heading, justify="right", no_wrap=True)
    for name, column in found.columns.items():
        grid.add_row(Text(shown(name)), *_cells(column.paired, found.pairs))
    console().print(grid)


def _cells(paired: PairedComparison | None, pairs: int) -> tuple[str, ...]:
    if paired is None:
        return ("0", str(pairs), *"-----")
    interval = paired.interval
    return (
        str(paired.n),
        str(pairs - paired.n),
        f"{paired.mean_before:.4g}",
        f"{paired.mean_after:.4g}",
        f"{paired.mean_difference:+.4g}",
        f"{interval.low:+.4g} .. {interval.high:+.4g}" if interval else "-",
        f"{paired.win_rate:.1%}",
    )
