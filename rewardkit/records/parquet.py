"""Parquet files from outside: read in batches, and no more rows than a table can sensibly have.

A column of one repeated value takes no space in the file, so 60 kB can hold a billion rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from rewardkit.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

#: More rows than this are refused on the file's footer, before any is read.
MAX_ROWS = 5_000_000

_BATCH = 10_000


def read_batches(
    stream: BinaryIO, max_rows: int = MAX_ROWS
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The columns of a parquet file, and its rows, some thousands at a time.

    Args:
        stream: the open file; it stays open until the rows are read.
        max_rows: the most that are accepted.

    Raises:
        InputError: there are more rows.
        pyarrow.ArrowException: it is no parquet file; also while the rows are read.
        OSError: the same.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(stream)
    rows = file.metadata.num_rows
    if rows > max_rows:
        raise InputError(
            f"it has {rows:,} rows; accepted are {max_rows:,}. Split it into several files"
        )
    return file.schema_arrow, file.iter_batches(_BATCH)
