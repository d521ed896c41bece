"""Items as samples: whether they have what rewards need, and their files, read one by one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.engine.card import RewardCard
from rewardkit.engine.checks import lacks_prompt, prompt_needed
from rewardkit.errors import InputError, UsageError
from rewardkit.media.batch import Kind, LazySample, Medium, Sample
from rewardkit.media.clips import read_clip
from rewardkit.media.decoding import MAX_CLIP_BYTES
from rewardkit.media.files import refuse_address
from rewardkit.media.images import MAX_PIXELS, read_image
from rewardkit.media.sources import Item, kind_of_file
from rewardkit.records.rows import storable
from rewardkit.records.seen import Seen

_log = logging.getLogger("rewardkit")


def check_needs(cards: Sequence[RewardCard], items: Sequence[Item]) -> None:
    """Stops before anything is loaded if no item has what a reward needs.

    If only some lack it, those become rows with an error; of prompts, a warning says so.

    Raises:
        UsageError: no item has it.
    """
    for card in cards:
        if card.needs_prompt:
            lacking = [item for item in items if lacks_prompt(card, item.prompt, item.meta)]
            if lacking:
                first = storable(lacking[0].path)
                needed = "one" if card.prompt_key is None else prompt_needed(card).rstrip(",")
                message = (
                    f"{first} has no prompt and {card.name} needs {needed} ({len(lacking)} of "
                    f"{len(items)} files). Give -p FILE, --prompt TEXT, --prompt-from-name, "
                    "--prompt-from-metadata, a manifest with a prompt column, or a .txt beside "
                    "each file"
                )
                if len(lacking) == len(items):
                    raise UsageError(message)
                _log.warning(message)
        for key in card.needs_meta:
            lacking = [item for item in items if key not in item.meta]
            if len(lacking) == len(items):
                raise UsageError(
                    f"{card.name} needs the key {key!r} of each prompt's line, and no file has it. "
                    "Give -p FILE.jsonl or a manifest with that key"
                )
        for name in card.needs_references:
            if not any(name in item.references for item in items):
                raise UsageError(
                    f"{card.name} compares each file with a reference, {name!r}, and no file has "
                    f"one. Give a manifest or -p FILE with a column {name!r} that names its file"
                )


@dataclass(frozen=True)
class Reader:
    """Opens an item as the medium it is; what of it changes scores is recorded.

    Attributes:
        kind: what all items are; None lets the extension of each decide.
        fps: sample clips at this rate.
        frames: sample this many frames of each clip.
        max_pixels: refuse larger pictures.
        root: what the paths of items are relative to.
    """

    kind: Kind | None
    fps: float | None = None
    frames: int | None = None
    max_pixels: int = MAX_PIXELS
    root: Path = Path()

    @property
    def sampling(self) -> dict[str, Any] | None:
        """Which frames are read, as provenance has it; None if that is not asked of any clip."""
        if self.kind == "image" or (self.kind is None and self.fps is None and self.frames is None):
            return None
        return {"fps": self.fps, "frames": self.frames}

    def paths(self, item: Item) -> list[Path]:
        """The file of an item, and then those of its references."""
        return [self.root / path for path in (item.path, *item.references.values())]

    def read(self, item: Item) -> Sample:
        """The item with its decoded medium and references.

        Raises:
            InputError: one of them cannot be read.
        """
        if item.problem is not None:
            raise InputError(item.problem)
        medium = self._open(item.path, self.kind)
        references = {}
        for name, path in item.references.items():
            try:
                references[name] = self._open(path, None)
            except InputError as error:
                raise InputError(f"the reference {name!r} cannot be read: {error}") from error
        return Sample(medium, item.prompt, item.meta, references)

    def _open(self, path: str, kind: Kind | None) -> Medium:
        refuse_address(path)
        file = self.root / path
        if (kind or kind_of_file(path) or "image") == "image":
            return read_image(file, max_pixels=self.max_pixels)
        return read_clip(file, fps=self.fps, frames=self.frames, max_bytes=MAX_CLIP_BYTES)


class Work:
    """An item that is to be scored, and when and as which files it was read."""

    def __init__(self, reader: Reader, item: Item) -> None:
        self.item = item
        self._reader = reader
        self.seen = Seen(0.0, None)

    def sample(self) -> LazySample:
        """What the scorer reads."""
        return LazySample(self._read)

    def _read(self) -> Sample:
        self.seen = Seen.of(self._reader.paths(self.item))
        return self._reader.read(self.item)
