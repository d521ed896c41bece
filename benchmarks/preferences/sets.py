"""Published preference sets by name, in their publishers' layout.

Pictures are gigabytes, which the user downloads. Annotations are small and are downloaded at a
pinned or recorded revision. Pick-a-Pic has both in one table, so its pictures are unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.preferences.annotations import HpdEntry, ImageRewardEntry, Local, read_list
from benchmarks.preferences.manifest import read_manifest
from benchmarks.preferences.pick_a_pic import read_pick_a_pic
from benchmarks.preferences.question import PreferenceSet
from rewardkit.errors import UsageError, unknown
from rewardkit.weights.pins import PinnedFile


class PublicSet(NamedTuple):
    """A public set: the folder that `--images` names, and what reads the set."""

    images: str
    read: Callable[[str, Local], PreferenceSet]


#: The file of annotations of a set, by its name.
ANNOTATIONS = {
    file.name: file
    for file in (
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

SETS: Mapping[str, PublicSet] = {
    "hpd.v2-test": PublicSet(
        "the folder `test` of zhwang/HPDv2, unpacked",
        partial(read_list, annotations=ANNOTATIONS["hpd.v2-test"], entry=HpdEntry, number=None),
    ),
    "imagereward-test": PublicSet(
        "the folder in which `part-005658/images/...` lie",
        partial(
            read_list,
            annotations=ANNOTATIONS["imagereward-test"],
            entry=ImageRewardEntry,
            number=466,
        ),
    ),
    **{
        f"pick-a-pic.{version}-{split.replace('_', '-')}": PublicSet(
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


def preference_set(
    source: str, images: Path | None, annotations: Path | None = None
) -> tuple[str, Callable[[Path], PreferenceSet]]:
    """The title of a set, and a function that reads it, given a folder for unpacked pictures.

    Args:
        source: one of `SETS`, else a manifest.
        images: the folder of a public set's pictures.
        annotations: a local file of annotations, instead of the one that would be downloaded.

    Raises:
        UsageError: there is no such set, or `images` is missing, not a folder, or not needed.
    """
    if source in SETS:
        if images is None:
            raise UsageError(f"give the pictures of {source} with --images: {SETS[source].images}")
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
