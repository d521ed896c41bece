"""Score items that are found: decode, prepare, batch, score, write down; overlapped and resumable.

Batches are cut from the whole list of items at fixed places, so a run that was killed and started
again forms the same batches, and its result is that of an uninterrupted one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rewardkit.engine.batches import Outcome
from rewardkit.engine.card import RewardCard
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import describe_steps
from rewardkit.engine.registry import entry
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec
from rewardkit.errors import InputError, RewardKitError, UsageError, describe
from rewardkit.media.batch import Kind, LazySample, Medium, Sample
from rewardkit.media.clips import MAX_CLIP_BYTES, read_clip
from rewardkit.media.files import refuse_address
from rewardkit.media.images import MAX_PIXELS, read_image
from rewardkit.media.sources import Item
from rewardkit.records.provenance import now, sha256_file, versions
from rewardkit.records.rows import Row, Table, storable, to_arrow
from rewardkit.records.scorefile import ScoreFile, Seen

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_log = logging.getLogger("rewardkit")


@dataclass(frozen=True)
class Progress:
    """Where a run stands: items done (of them failed) of the total."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True, repr=False)
class Report:
    """What a run found.

    Attributes:
        rows: one per item, in the items' order.
        rewards: the columns, resolved reward names.
        spec: the rewards, with resolved names.
        reused: rows taken from an earlier run's file.
        made_by: what decides the numbers: spec, and per reward checksums, preprocessing, dtype.
        weights: every file of weights that was loaded, by name: source, revision, sha256.
        device: that computed.
    """

    rows: list[Row]
    rewards: tuple[str, ...]
    spec: RewardSpec
    reused: int
    made_by: Mapping[str, Any]
    weights: Mapping[str, Any]
    device: str

    @property
    def failed(self) -> int:
        """Rows with an error."""
        return sum(row.error is not None for row in self.rows)

    def table(self) -> pa.Table:
        """The rows as the table that `output` holds."""
        return to_arrow(self.rows, self.rewards, self.spec.has_total)

    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame, as `rewardkit.read_scores` reads `output`."""
        return Table(tuple(self.rows), self.rewards, self.spec.has_total).to_pandas()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        means = []
        for name in self.rewards:
            known = [s for row in self.rows if (s := row.scores[name]) is not None]
            means.append(f"{name} mean {fmean(known):.6g}" if known else f"{name} without a score")
        return f"<Report of {len(self)} rows, {self.failed} failed: {', '.join(means)}>"


def score_items(
    items: Sequence[Item],
    spec: RewardSpec,
    *,
    reader: Reader,
    loader: Callable[[], Loader],
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    batch_size: int = 32,
    workers: int | None = None,
    about: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """The half of `score_folder` that comes after it has found its items; see there.

    Args:
        items: what to score, with prompts and meta.
        spec: by what, of `check_request`.
        reader: opens them.
        loader: of weights; called once the items have what the rewards need.
        output: as for `score_folder`, like the arguments after it.
        overwrite: see there.
        batch_size: see there.
        workers: see there.
        about: what else the provenance beside `output` is to say.
        on_progress: see there.
    """
    # Ids and prompts as a table can store them: names that are not UTF-8 come escaped.
    items = [
        replace(item, id=storable(item.id), prompt=item.prompt and storable(item.prompt))
        for item in items
    ]
    _check_needs([entry(name).card for name in spec.names], items)
    loaded = loader()
    scorer = Scorer.load(spec, loaded)
    made_by = _made_by(scorer, loaded, reader)
    located = {name: w.model_dump(mode="json") for name, w in loaded.located.items()}
    with ScoreFile.open(
        output, made_by, spec.names, with_total=spec.has_total, overwrite=overwrite
    ) as file:
        file.reconcile(
            {item.id: item.prompt for item in items},
            {item.id: str(reader.root / item.path) for item in items},
        )
        kept = len(file.rows)
        done = failed = 0
        on_progress(Progress(0, 0, len(items)))
        works = [
            None if _is_done(file.rows.get(item.id)) else _Work(reader, item) for item in items
        ]
        samples = [work.sample() if work else None for work in works]
        for scored in scorer.stream(
            samples, batch_size=batch_size, workers=workers, ahead=loaded.ahead
        ):
            here = slice(done, done + len(scored))
            file.add(
                (work.seen, _row(scorer, work.item, outcome))
                for work, outcome in zip(works[here], scored, strict=True)
                if work is not None and outcome is not None
            )
            failed += sum(file.rows[item.id].error is not None for item in items[here])
            done += len(scored)
            on_progress(Progress(done, failed, len(items)))
        file.finish(
            [item.id for item in items],
            {
                **(about or {}),
                "n_expected": len(items),
                "n_scored": len(items) - failed,
                "device": str(loaded.device),
                "weights": located,
                "versions": versions(),
                "finished": now(),
            },
        )
    ordered = [file.rows[item.id] for item in items]
    return Report(ordered, spec.names, spec, kept, made_by, located, str(loaded.device))


def _check_needs(cards: Sequence[RewardCard], items: Sequence[Item]) -> None:
    """Stop before anything is loaded where no item has what a reward needs.

    Where only some lack it, warn: those become rows with an error.
    """
    for card in cards:
        if card.needs_references:
            raise UsageError(
                f"{card.name} compares with reference media ({', '.join(card.needs_references)}), "
                "which files do not have. Score in Python: rewardkit.scorer(SPEC)(media, prompts, "
                "references=[...])"
            )
        if card.needs_prompt:
            lacking = [item for item in items if not (item.prompt and item.prompt.strip())]
            if lacking:
                first = storable(lacking[0].path)
                message = (
                    f"{first} has no prompt and {card.name} needs one ({len(lacking)} of "
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


@dataclass(frozen=True)
class Reader:
    """Opens an item as the medium it is; what of it changes scores is recorded.

    Attributes:
        kind: what all items are.
        fps: sample clips at this rate.
        frames: sample this many frames of each clip.
        max_pixels: refuse larger pictures.
        root: what the paths of items are relative to.
    """

    kind: Kind
    fps: float | None = None
    frames: int | None = None
    max_pixels: int = MAX_PIXELS
    root: Path = Path()

    def read(self, item: Item) -> Medium:
        """The decoded medium.

        Raises:
            InputError: it cannot be read.
        """
        if item.problem is not None:
            raise InputError(item.problem)
        refuse_address(item.path)
        path = self.root / item.path
        if self.kind == "image":
            return read_image(path, max_pixels=self.max_pixels)
        return read_clip(path, fps=self.fps, frames=self.frames, max_bytes=MAX_CLIP_BYTES)


def _made_by(scorer: Scorer, loader: Loader, reader: Reader) -> dict[str, Any]:
    """What decides the numbers: an output made by anything else is not continued."""
    rewards: dict[str, Any] = {}
    for name, reward in scorer.rewards.items():
        card, file = reward.card, entry(name).file
        parts: dict[str, Any] = {
            f"sha256 of {weights.name}": loader.located[weights.name].sha256
            for weights in card.all_weights
        }
        steps = card.encoder.preprocess if card.encoder else card.preprocess
        if steps:
            parts["preprocess"] = describe_steps(steps)
            parts["dtype"] = str(loader.dtype).removeprefix("torch.")
        if file is not None:
            parts["sha256"] = sha256_file(file)
        rewards[name] = parts
    sampling = {"fps": reader.fps, "frames": reader.frames} if reader.kind == "video" else None
    return {"spec": str(scorer.spec), "rewards": rewards, "sampling": sampling}


class _Work:
    """An item that is to be scored, and when and as which file it was read."""

    def __init__(self, reader: Reader, item: Item) -> None:
        self.item = item
        self._reader = reader
        self.seen = Seen(0.0, None)

    def sample(self) -> LazySample:
        """What the scorer reads."""
        return LazySample(self._read)

    def _read(self) -> Sample:
        self.seen = Seen.of(self._reader.root / self.item.path)
        return Sample(self._reader.read(self.item), self.item.prompt, self.item.meta)


def _is_done(row: Row | None) -> bool:
    return row is not None and row.error is None


def _row(scorer: Scorer, item: Item, outcome: Outcome) -> Row:
    # One cause of several rewards is reported once; a foreign one needs the reward's name.
    errors = [
        describe(e) if isinstance(e, RewardKitError) else f"{name}: {describe(e)}"
        for name, e in outcome.errors.items()
    ]
    return Row(
        id=item.id,
        path=storable(item.path),
        prompt=item.prompt,
        scores=outcome.scores,
        total=scorer.spec.total(outcome.scores),
        error="; ".join(dict.fromkeys(errors)) or None,
    )
