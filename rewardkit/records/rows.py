"""The score table: one row per sample, one column per reward, as parquet, CSV or JSON lines.

Columns, in order: `id`, `path`, `prompt`, one float32 column per reward under its resolved name,
`total` where the table has one, `error`. A failure is null in every format, never a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rewardkit.errors import InputError, RewardKitError, UsageError, describe
from rewardkit.extras import require
from rewardkit.records.documents import refuse_pipe
from rewardkit.records.formats import FORMATS, Format
from rewardkit.records.storage import atomic_write

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TEXTS = ("id", "path", "prompt", "error")
RESERVED = (*TEXTS, "total")
FLOAT32_MAX = (2 - 2**-23) * 2.0**127


@dataclass(frozen=True)
class Row:
    """The scores of one sample.

    Attributes:
        id: pairs this row with a row of another table.
        path: the file of the picture or the clip.
        prompt: None where the rewards needed none.
        scores: the value of each reward; None where it failed.
        total: the weighted sum; None where the table has none, or a term failed.
        error: the reason why a score is None.

    Raises:
        InputError: a score is not a number that float32 holds.
    """

    id: str
    path: str
    prompt: str | None
    scores: dict[str, float | None]
    total: float | None = None
    error: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """The row of a record read from a file, whose keys are the attributes.

        Raises:
            InputError: a key is missing, unknown, or has a value of another type.
        """
        names = {field.name for field in fields(cls)}
        if not {"id", "path", "prompt", "scores"} <= record.keys() <= names:
            raise InputError(f"a row has {', '.join(sorted(names))}; given: {sorted(record)}")
        for name in TEXTS:
            text = record.get(name)
            if not isinstance(text, str) and (text is not None or name in ("id", "path")):
                raise InputError(f"{name} of a row is text; {text!r} was given")
        scores = record["scores"]
        if not isinstance(scores, dict):
            raise InputError(f"scores of a row are numbers by name; {scores!r} was given")
        for value in (*scores.values(), record.get("total")):
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float)
            ):
                raise InputError(f"a score is a number or null; {value!r} was given")
        return cls(**record)

    def __post_init__(self) -> None:
        """Refuses numbers that are no scores, here, so that none can get into a table."""
        for name, value in (*self.scores.items(), ("total", self.total)):
            # Written so that NaN, which is neither more nor less than anything, is refused.
            if value is not None and not abs(value) <= FLOAT32_MAX:
                raise InputError(
                    f"{name} of {self.id!r} is {value}; a score is a finite float32. "
                    "Give a failed score as null, with the reason as the row's error."
                )


@dataclass(frozen=True)
class Table:
    """A score table in memory.

    Attributes:
        rows: in the order of the file.
        rewards: the names of the score columns, in order.
        with_total: whether there is a column `total`.
    """

    rows: tuple[Row, ...]
    rewards: tuple[str, ...]
    with_total: bool

    def to_pandas(self) -> pd.DataFrame:
        """The table as a DataFrame: the columns of the file, scores as float32, null as NaN.

        Raises:
            MissingPackage: the extra `pandas` is not installed.
        """
        require("pandas", "making a DataFrame")
        return to_arrow(self.rows, self.rewards, self.with_total).to_pandas()


def write_rows(
    path: str | PathLike[str], rows: Iterable[Row], rewards: Sequence[str], with_total: bool
) -> None:
    """Writes a score table, atomically, in the format of the suffix.

    A reward that a row has no score of is null there. CSV and JSON lines hold the shortest decimal
    that reads back as the same float32. In CSV, null is an empty cell and the empty text is `""`;
    a spreadsheet program that saves such a file makes both null.

    Raises:
        UsageError: the suffix is unknown, or a reward cannot be the name of a column.
        InputError: a row has a score of no column, or `path` cannot be written.
    """
    path = Path(path)
    form = check_format(path)
    columns = to_arrow(rows, rewards, with_total)
    with atomic_write(path) as temporary:
        form.write(columns, temporary)


def read_rows(path: str | PathLike[str]) -> Table:
    """Reads a score table in the format of the suffix.

    Every column that is not in `RESERVED` is a reward. Types are cast, so that tables written by
    other programs can be read: `id` may be a number, a score may be a float64.

    Raises:
        UsageError: the suffix is unknown.
        InputError: there is no file, or it is no score table.
    """
    path = Path(path)
    form = check_format(path)
    import pyarrow as pa

    try:
        refuse_pipe(path)
        return _from_arrow(form.read(path, TEXTS))
    except (OSError, ValueError, OverflowError, pa.ArrowException, RewardKitError) as error:
        raise InputError(
            f"cannot read {path} as a score table: {describe(error).rstrip('.')}. "
            "`rewardkit score` writes one."
        ) from error


def check_format(path: Path) -> Format:
    """The format of a score table, by the suffix of its path.

    Raises:
        UsageError: the suffix is unknown.
    """
    form = FORMATS.get(path.suffix.casefold())
    if form is None:
        raise UsageError(
            f"cannot tell the format of {str(path)!r}; a score table is one of "
            f"{', '.join(FORMATS)}. Name a file that ends so."
        )
    return form


def storable(text: str) -> str:
    r"""Text that UTF-8 can hold: bytes of a file name that is not UTF-8 become `\xff`.

    Python carries such bytes as lone surrogates, which no table format stores; any other lone
    surrogate becomes `\ud800`. For people to read: a name with real backslashes can look the same.
    """
    return re.sub("[\ud800-\udfff]", _escape, text)


def _escape(surrogate: re.Match[str]) -> str:
    code = ord(surrogate[0])
    # os.fsdecode puts byte 0xNN at U+DCNN, for the bytes 0x80 to 0xFF.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def to_arrow(rows: Iterable[Row], rewards: Sequence[str], with_total: bool) -> pa.Table:
    """A score table in memory, as `write_rows` writes it; arguments and errors as there."""
    import pyarrow as pa

    schema = _schema(rewards, with_total)
    records = []
    for row in rows:
        for name in row.scores:
            if name not in rewards:
                raise InputError(
                    f"row {row.id!r} has a score of {name!r}; the score columns are "
                    f"{', '.join(rewards) or 'none'}. Name every reward of the rows."
                )
        texts = {"id": row.id, "path": row.path, "prompt": row.prompt, "error": row.error}
        stored = {name: text and storable(text) for name, text in texts.items()}
        records.append({**stored, **row.scores, "total": row.total})
    return pa.Table.from_pylist(records, schema)


def _from_arrow(table: pa.Table) -> Table:
    names = table.column_names
    for name in (*TEXTS, "total"):
        if names.count(name) > 1 or (name in TEXTS and name not in names):
            raise InputError(f"it has {names.count(name) or 'no'} columns {name!r}")
    rewards = tuple(name for name in names if name not in RESERVED)
    with_total = "total" in names
    schema = _schema(rewards, with_total)
    rows = []
    for number, record in enumerate(table.select(schema.names).cast(schema).to_pylist(), start=1):
        if record["id"] is None or record["path"] is None:
            raise InputError(f"row {number} lacks its id or its path")
        scores = {name: record[name] for name in rewards}
        texts = {name: record[name] for name in TEXTS}
        rows.append(Row(**texts, scores=scores, total=record.get("total")))
    return Table(tuple(rows), rewards, with_total)


def _schema(rewards: Sequence[str], with_total: bool) -> pa.Schema:
    import pyarrow as pa

    for name in rewards:
        if not name or name in RESERVED or rewards.count(name) > 1:
            raise UsageError(
                f"{name!r} cannot name the scores of a reward: it is empty, given twice, or one of "
                f"{', '.join(RESERVED)}. Rename the reward."
            )
    names = ("id", "path", "prompt", *rewards, *(["total"] if with_total else []), "error")
    return pa.schema([(name, pa.string() if name in TEXTS else pa.float32()) for name in names])
