"""Pick-a-Pic, whose pictures and labels are in parquet files together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self, final

from pydantic import BaseModel, ValidationError, model_validator

from benchmarks.preferences.annotations import Local
from benchmarks.preferences.manifest import reason
from benchmarks.preferences.question import PreferenceSet, Question
from rewardkit.errors import InputError
from rewardkit.media.files import open_file, quoted
from rewardkit.records.storage import atomic_write

# Rows whose pictures are in memory at once.
_AT_ONCE = 64
# The ranking that the labels of a row mean.
_RANKINGS: Mapping[tuple[float | None, float | None], tuple[float, float]] = {
    (1, 0): (1, 2),
    (0, 1): (2, 1),
    (0.5, 0.5): (1, 1),
}


@final
class PickRow(BaseModel):
    """A row of Pick-a-Pic; labels of 0.5 are a tie.

    Source: https://huggingface.co/datasets/yuvalkirstain/pickapic_v2.
    """

    caption: str
    jpg_0: bytes | None
    jpg_1: bytes | None
    label_0: float | None
    label_1: float | None
    has_label: bool

    @model_validator(mode="after")
    def _labelled(self) -> Self:
        labels = (self.label_0, self.label_1)
        if self.has_label and labels not in _RANKINGS:
            raise ValueError(f"labels are 1 and 0, 0 and 1, or 0.5 and 0.5; given: {labels}")
        return self


def read_pick_a_pic(name: str, local: Local, *, split: str, number: int) -> PreferenceSet:
    """Reads a split of Pick-a-Pic: parquet files that begin with its name, anywhere below a folder.

    Rows without a label are left out. Each picture is unpacked once, under its checksum.

    Args:
        name: the name of the set.
        local: where its files are on this machine.
        split: the beginning of the files' names.
        number: how many rows the published split has.

    Raises:
        InputError: there are no such files, or they hold something else.
    """
    files = sorted(local.media.rglob(f"{split}-*.parquet"))
    if not files:
        raise InputError(f"{local.media} has no {split}-*.parquet, which are the files of {name}")
    rows = 0
    questions = []
    for file in files:
        for row in _rows(file):
            rows += 1
            if not row.has_label:
                continue
            pictures = tuple(_unpack(jpg or b"", local.unpacked) for jpg in (row.jpg_0, row.jpg_1))
            questions.append(Question(row.caption, pictures, _RANKINGS[row.label_0, row.label_1]))
    if rows > number or not questions:
        raise InputError(
            f"{split}-*.parquet of {local.media} has {rows} rows, {len(questions)} with a label; "
            f"{name} has {number} rows"
        )
    source = ", ".join(file.name for file in files)
    return PreferenceSet(name, source, local.unpacked, questions, missing=number - rows)


def _rows(file: Path) -> Iterator[PickRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with open_file(file) as stream, pq.ParquetFile(stream) as table:
            columns = [name for name in PickRow.model_fields if name in table.schema_arrow.names]
            for batch in table.iter_batches(_AT_ONCE, columns=columns):
                for values in batch.to_pylist():
                    number += 1
                    yield PickRow.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{quoted(file)}, row {number}: {reason(error)}") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{quoted(file)} is not a parquet table: {error}") from error


def _unpack(jpg: bytes, folder: Path) -> str:
    """Writes a picture that is not there yet; returns its name below the folder."""
    name = f"{hashlib.sha256(jpg).hexdigest()[:32]}.jpg"
    path = folder / name
    if not path.exists():
        with atomic_write(path) as temporary:
            temporary.write_bytes(jpg)
    return name
