"""Tables of numbers as pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from rewardkit.extras import require
from rewardkit.records.rows import read_rows

if TYPE_CHECKING:
    import pandas as pd


def frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per record, one column per key.

    Raises:
        MissingPackage: the extra `pandas` is not installed.
    """
    require("pandas", "making a DataFrame")
    import pandas as pd

    return pd.DataFrame.from_records(list(records))


def read_scores(path: str | PathLike[str]) -> pd.DataFrame:
    """The score table in a .parquet, .csv or .jsonl file.

    Columns: `id`, `path`, `prompt`, a float32 column per reward, `total` where the table has one,
    and `error`. A failed score is missing (NaN), with its reason as `error`.

    Raises:
        UsageError: the suffix is unknown.
        InputError: there is no file, or it is no score table.
        MissingPackage: the extra `pandas` is not installed.
    """
    return read_rows(path).to_pandas()
