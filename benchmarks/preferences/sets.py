"""Published preference sets by name, in their publishers' layout.

Pictures and clips are gigabytes, which the user downloads. Annotations are small and are downloaded
at a pinned or recorded revision. Pick-a-Pic has both in one table, so its pictures are unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, final

from benchmarks.preferences.annotations import HpdEntry, ImageRewardEntry, Local, read_list
from benchmarks.preferences.manifest import read_manifest
from benchmarks.preferences.pick_a_pic import read_pick_a_pic
from benchmarks.preferences.question import PreferenceSet
from benchmarks.preferences.videogen import TABLE, read_videogen
from rewardkit.errors import UsageError, unknown
from rewardkit.media.batch import Kind
from rewardkit.weights.pins import PinnedFile


class PublicSet(NamedTuple):
    """A public set.

    Attributes:
        media: the folder that `--media` names, in words.
        read: reads the set of this name.
        annotations: the file of its annotations; None where they lie among its media.
        kind: of its media.
    """

    media: str
    read: Callable[[str, Local], PreferenceSet]
    annotations: PinnedFile | None = None
    kind: Kind = "image"


_HPD = PinnedFile(
    name="hpd.v2-test",
    repo="zhwang/HPDv2",
    kind="data",
    files=("test.json",),
    licence="Apache-2.0",
)
_IMAGEREWARD = PinnedFile(
    name="imagereward-test",
    repo="THUDM/ImageReward",
    host="github",
    kind="data",
    files=("data/test.json",),
    revision="c1392c6dd0fd6ecd6d416c96959ab744a6d0a8fb",
    sha256="77cff6c2d0522006f52f0b637ef8302db1782b2b761e378c124a012a3c7fc58e",
    licence="Apache-2.0",
)
SETS: Mapping[str, PublicSet] = {
    "hpd.v2-test": PublicSet(
        "the folder `test` of zhwang/HPDv2, unpacked",
        partial(read_list, annotations=_HPD, entry=HpdEntry, number=None),
        _HPD,
    ),
    "imagereward-test": PublicSet(
        "the folder in which `part-005658/images/...` lie",
        partial(
            read_list,
            annotations=_IMAGEREWARD,
            entry=ImageRewardEntry,
            number=466,
        ),
        _IMAGEREWARD,
    ),
    **{
        f"{TABLE.name}{tag}": PublicSet(
            f"the folder in which {TABLE.repo}'s `videos/...` lie, unpacked",
            partial(read_videogen, column=column),
            TABLE,
            "video",
        )
        for tag, column in (("", "Overall"), (".vq", "VQ"), (".mq", "MQ"), (".ta", "TA"))
    },
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


@final
@dataclass(frozen=True)
class SetSource:
    """A set that can be read.

    Attributes:
        title: its name, as results and tables have it.
        kind: of its media.
        read: reads it, given a folder for unpacked pictures.
    """

    title: str
    kind: Kind
    read: Callable[[Path], PreferenceSet]


def annotations_of(source: str) -> PinnedFile | None:
    """The file of a set's annotations; None where it has none apart, or is a manifest."""
    return SETS[source].annotations if source in SETS else None


def preference_set(source: str, media: Path | None, annotations: Path | None = None) -> SetSource:
    """A set by its name, or a manifest.

    Args:
        source: one of `SETS`, else a manifest.
        media: the folder of a public set's pictures or clips.
        annotations: a local file of annotations, instead of the one that would be downloaded.

    Raises:
        UsageError: there is no such set, or `media` is missing, not a folder, or not needed.
        InputError: a manifest is malformed.
    """
    if source in SETS:
        public = SETS[source]
        if media is None:
            raise UsageError(f"give the files of {source} with --media: {public.media}")
        if not media.is_dir():
            raise UsageError(f"there is no folder {media}")
        return SetSource(
            source,
            public.kind,
            lambda unpacked: public.read(source, Local(media, unpacked, annotations)),
        )
    if Path(source).suffix.lower() != ".jsonl":
        raise unknown("preference set", source, SETS, "rewardkit bench preferences --help")
    if not Path(source).is_file():
        raise UsageError(f"there is no file {source}")
    if media is not None:
        raise UsageError("a manifest says where its files are, so --media cannot be given")
    found = read_manifest(Path(source))
    return SetSource(found.name, found.kind, lambda unpacked: found)
