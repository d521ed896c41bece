"""Published preference sets by name, in their publishers' layout.

Pictures are gigabytes, which the user downloads; annotations are small and fetched, at a pinned or
recorded revision. Pick-a-Pic has both in one table, so its pictures are unpacked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.preferences.manifest import read_manifest, reason
from benchmarks.preferences.question import PreferenceSet, Question
from rewardkit.errors import InputError, UsageError, unknown
from rewardkit.media.files import open_file, quoted, read_text
from rewardkit.records.documents import parse_json
from rewardkit.records.storage import atomic_write
from rewardkit.weights.hub import locate
from rewardkit.weights.pins import PinnedFile

# Rows of a table whose pictures are in memory at once.
_AT_ONCE = 64
# By the labels of a row of Pick-a-Pic.
_RANKINGS: Mapping[tuple[float | None, float | None], tuple[float, float]] = {
    (1, 0): (1, 2),
    (0, 1): (2, 1),
    (0.5, 0.5): (1, 1),
}


@final
@dataclass(frozen=True)
class Local:
    """What of a published set is on this machine.

    Attributes:
        images: the folder that its publisher's pictures are in.
        unpacked: the folder for pictures that have to be unpacked.
        annotations: a file of the user's, instead of what would be fetched.
    """

    images: Path
    unpacked: Path
    annotations: Path | None


class Published(NamedTuple):
    """A named set: which folder `--images` is, and how the set of that name is read."""

    images: str
    read: Callable[[str, Local], PreferenceSet]


class _Entry(BaseModel):
    """An entry of a list of annotations, by whatever names its publisher has."""

    model_config = ConfigDict(allow_inf_nan=False)

    prompt: str
    images: tuple[str, ...] = Field(min_length=2)
    ranking: tuple[float, ...]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.images) != len(self.ranking):
            raise ValueError(f"{len(self.images)} images and {len(self.ranking)} ranks")
        return self


@final
class HpdEntry(_Entry):
    """As HPD v2 has it.

    Source: https://github.com/tgxs002/HPSv2, README.md, and hpsv2/src/training/data.py:
    RankingDataset.
    """

    images: tuple[str, ...] = Field(alias="image_path", min_length=2)
    ranking: tuple[float, ...] = Field(alias="rank")


@final
class ImageRewardEntry(_Entry):
    """As ImageReward has it.

    Source: https://github.com/THUDM/ImageReward, test.py.
    """

    images: tuple[str, ...] = Field(alias="generations", min_length=2)


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


def read_list(
    name: str, local: Local, *, annotations: PinnedFile, entry: type[_Entry], number: int | None
) -> PreferenceSet:
    """A set that is a JSON list of entries, with pictures at the paths that they name.

    Args:
        name: of the set.
        local: what of it is on this machine.
        annotations: the list.
        entry: one of it.
        number: how many the published list has, where that is known.

    Raises:
        WeightsError: the list is not on this machine and cannot be downloaded.
        InputError: it is not what its publisher has.
    """
    own = local.annotations
    located = locate(annotations, {} if own is None else {annotations.name: own})
    where = quoted(located.path)
    listed = parse_json(read_text(located.path), where)
    if not isinstance(listed, list) or not 0 < len(listed) <= (number or len(listed)):
        told = f"{number} entries" if number else "entries"
        raise InputError(f"{where} is not the list of {told} that {name} is")
    questions = []
    for place, told in enumerate(listed, start=1):
        try:
            one = entry.model_validate(told)
        except ValidationError as error:
            raise InputError(f"{where}, entry {place}: {reason(error)}") from error
        questions.append(Question(one.prompt, one.images, one.ranking))
    return PreferenceSet(
        name=name,
        source=f"{located.source} at {located.revision or located.sha256}",
        folder=local.images,
        questions=questions,
        missing=0 if number is None else number - len(listed),
    )


def read_pick_a_pic(name: str, local: Local, *, split: str, number: int) -> PreferenceSet:
    """A split of Pick-a-Pic: parquet files named for it, anywhere below a folder.

    Rows without a label are left out. Pictures are unpacked under their checksums, each once.

    Args:
        name: of the set.
        local: what of it is on this machine.
        split: what the names of files begin with.
        number: how many rows the published split has.

    Raises:
        InputError: there are no such files, or they hold something else.
    """
    files = sorted(local.images.rglob(f"{split}-*.parquet"))
    if not files:
        raise InputError(
            f"{local.images} has no {split}-*.parquet, which is how the files of {name} are called"
        )
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
            f"{split}-*.parquet of {local.images} has {rows} rows, {len(questions)} with a label; "
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
    """Writes a picture where it is not there yet; its name below the folder."""
    name = f"{hashlib.sha256(jpg).hexdigest()[:32]}.jpg"
    path = folder / name
    if not path.exists():
        with atomic_write(path) as temporary:
            temporary.write_bytes(jpg)
    return name


#: What is fetched of a set, by its name.
ANNOTATIONS = {
    one.name: one
    for one in (
        PinnedFile(
            name="hpd.v2-test",
            repo="zhwang/HPDv2",
            kind="data",
            files=("test.json",),
            licence="Apache-2.0",
        ),
        PinnedFile(
            name="imagereward-test",
            repo="THUDM/ImageReward",
            host="github",
            kind="data",
            files=("data/test.json",),
            revision="c1392c6dd0fd6ecd6d416c96959ab744a6d0a8fb",
            sha256="77cff6c2d0522006f52f0b637ef8302db1782b2b761e378c124a012a3c7fc58e",
            licence="Apache-2.0",
        ),
    )
}

SETS: Mapping[str, Published] = {
    "hpd.v2-test": Published(
        "the folder `test` of zhwang/HPDv2, unpacked",
        partial(read_list, annotations=ANNOTATIONS["hpd.v2-test"], entry=HpdEntry, number=None),
    ),
    "imagereward-test": Published(
        "the folder in which `part-005658/images/...` lie",
        partial(
            read_list,
            annotations=ANNOTATIONS["imagereward-test"],
            entry=ImageRewardEntry,
            number=466,
        ),
    ),
    **{
        f"pick-a-pic.{version}-{split.replace('_', '-')}": Published(
            f"a folder with yuvalkirstain/pickapic_{version}'s {split}-*.parquet",
            partial(read_pick_a_pic, split=split, number=number),
        )
        for version, split, number in (
            ("v1", "validation", 17439),
            ("v1", "test", 14073),
            ("v1", "validation_unique", 500),
            ("v1", "test_unique", 500),
            ("v2", "validation", 20596),
            ("v2", "test", 20716),
            ("v2", "validation_unique", 500),
            ("v2", "test_unique", 500),
        )
    },
}


def named(
    source: str, images: Path | None, annotations: Path | None = None
) -> tuple[str, Callable[[Path], PreferenceSet]]:
    """The title of a set, and what reads it, given a folder for pictures to unpack.

    Args:
        source: one of `SETS`, else a manifest.
        images: the folder of a named set's pictures.
        annotations: of a named set, instead of what would be fetched.

    Raises:
        UsageError: there is no such set, or `images` is missing, no folder, or of no use.
    """
    if source in SETS:
        if images is None:
            raise UsageError(f"give --images, the pictures of {source}: {SETS[source].images}")
        if not images.is_dir():
            raise UsageError(f"there is no folder {images}")
        return source, lambda unpacked: SETS[source].read(
            source, Local(images, unpacked, annotations)
        )
    if Path(source).suffix.lower() != ".jsonl":
        raise unknown("preference set", source, SETS, "rewardkit bench preferences --help")
    if not Path(source).is_file():
        raise UsageError(f"there is no file {source}")
    if images is not None:
        raise UsageError("a manifest says where its pictures are, so --images cannot be given")
    return Path(source).stem, lambda unpacked: read_manifest(Path(source))
