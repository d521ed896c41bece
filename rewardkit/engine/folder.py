"""Score many files: find, decode, prepare, batch, score, write down; overlapped and resumable.

Decoding and preprocessing run in threads, ahead of the device where there is one. Batches are cut
from the whole list of items at fixed places, so a run that was killed and started again forms the
same batches, and its result is that of an uninterrupted one.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from os import PathLike, cpu_count
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from rewardkit.engine.card import RewardCard
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import describe_steps
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.reward import GroupReward
from rewardkit.engine.scorer import Prepared, Scored, Scorer
from rewardkit.engine.spec import RewardSpec, parse
from rewardkit.errors import RewardKitError, UsageError, describe
from rewardkit.media.batch import Kind, Medium
from rewardkit.media.clips import MAX_CLIP_BYTES, check_choice, read_clip
from rewardkit.media.images import MAX_PIXELS, read_image
from rewardkit.media.prompts import attach
from rewardkit.media.sources import Item, find
from rewardkit.records.provenance import now, sha256_file, versions
from rewardkit.records.rows import Row, check_format, storable
from rewardkit.records.scorefile import ScoreFile

_log = logging.getLogger("rewardkit")
Paths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass(frozen=True)
class Progress:
    """Where a run stands: items done (of them failed) of the total."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True)
class Report:
    """What a run found.

    Attributes:
        rows: one per item, in the items' order.
        rewards: the columns, resolved reward names.
        spec: what was asked, resolved.
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


def score_folder(
    inputs: Paths,
    rewards: str,
    *,
    prompts: str | Path | None = None,
    prompt: str | None = None,
    prompt_from_name: bool = False,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    kind: Kind | None = None,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, str | Path] | None = None,
    batch_size: int = 32,
    workers: int | None = None,
    fps: float | None = None,
    frames: int | None = None,
    max_pixels: int = MAX_PIXELS,
    stdin: BinaryIO | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """Score pictures or clips from folders, files, globs, or manifests.

    Args:
        inputs: one or several; "-" reads paths from `stdin`. See `rewardkit.media.sources`.
        rewards: a reward spec such as "clip+sharpness".
        prompts: a file of prompts; see `rewardkit.media.prompts`.
        prompt: one prompt for every item.
        prompt_from_name: take each item's prompt from its file name.
        output: a .parquet, .csv or .jsonl file. An earlier run's rows in it are reused; one that
            was made by other rewards, weights or prompts is refused.
        overwrite: score everything anew whatever `output` holds.
        kind: "image" or "video", where the inputs hold both and the rewards take both.
        device: see `rewardkit.create`, as `dtype` and `weights`.
        dtype: of the networks.
        weights: local files by name.
        batch_size: samples scored at once.
        workers: threads that decode and preprocess; by default one per processor, at most 8.
        fps: sample clips at this rate.
        frames: sample this many frames of each clip.
        max_pixels: refuse larger pictures.
        stdin: the stream that "-" reads.
        on_progress: called once everything is loaded, and after every batch.

    Returns:
        The rows. A sample that cannot be scored is a row with an error, never an exception.

    Raises:
        UsageError: nothing was scored: the request cannot be met as it stands.
        InputError: `output` was made otherwise.
        WeightsError: weights cannot be had.
    """
    spec = check_request(rewards, output, batch_size, workers)
    many = [inputs] if isinstance(inputs, str | PathLike) else inputs
    kind = _kind(_cards(spec), kind)
    check_choice(fps, frames)
    found = find([str(path) for path in many], kind, stdin=stdin)
    if found.skipped:
        first, n = storable(found.skipped[0]), len(found.skipped)
        _log.warning(f"{n} other files were left out for their extension, such as {first}")
    for reason in found.unreadable:
        _log.warning(f"a folder could not be searched: {storable(reason)}")
    if found.kind == "image" and (fps is not None or frames is not None):
        raise UsageError("fps and frames choose frames of clips, and these are pictures")
    return score_items(
        attach(found.items, file=prompts, text=prompt, from_name=prompt_from_name),
        spec,
        reader=Reader(found.kind, fps, frames, max_pixels),
        output=output,
        overwrite=overwrite,
        loader=lambda: Loader(device, dtype, weights),
        batch_size=batch_size,
        workers=workers,
        about={"inputs": [str(path) for path in many]},
        on_progress=on_progress,
    )


def check_request(
    rewards: str, output: str | PathLike[str] | None, batch_size: int, workers: int | None
) -> RewardSpec:
    """The spec that is asked for, where the request can be met as far as one sees without files.

    Raises:
        UsageError: it cannot.
    """
    if batch_size < 1 or (workers is not None and workers < 1):
        raise UsageError(f"batch size and workers are at least 1; given {batch_size}, {workers}")
    if output is not None:
        check_format(Path(output))
        if Path(output).is_dir():
            raise UsageError(f"{output} is a folder; the output is a file in it, or beside it")
    spec = parse(rewards, resolve)
    _cards(spec)
    if not spec.has_total and any(
        t.weight is not None or t.threshold is not None for t in spec.terms
    ):
        _log.warning(f"no column total: in {spec} not every term has a weight or a threshold")
    return spec


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
    _check_needs(_cards(spec), items)
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
        # Networks on the CPU want every core: decoding beside them would slow both down.
        ahead = 0 if loaded.device.type == "cpu" and loaded.located else 2
        for batch, rows in _score(scorer, reader, items, file.rows, batch_size, workers, ahead):
            file.add(rows)
            done += len(batch)
            failed += sum(file.rows[item.id].error is not None for item in batch)
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


def _cards(spec: RewardSpec) -> list[RewardCard]:
    entries = [entry(name) for name in spec.names]
    for known in entries:
        if issubclass(known.cls, GroupReward):
            raise UsageError(
                f"{known.card.name} compares the samples of a group and serves training only; "
                "files have no groups"
            )
    return [known.card for known in entries]


def _kind(cards: Sequence[RewardCard], asked: Kind | None) -> Kind | None:
    """The kind of media every card takes; None where that leaves a choice to the files."""
    kinds = [k for k in ("image", "video") if all(k in card.inputs for card in cards)]
    if not kinds:
        told = ", ".join(f"{card.name} takes {' or '.join(card.inputs)}" for card in cards)
        raise UsageError(f"no file can be scored by all of these at once: {told}. Score them apart")
    if asked is not None and asked not in kinds:
        raise UsageError(f"these rewards take {kinds[0]} files, not {asked}")
    return asked or (cast(Kind, kinds[0]) if len(kinds) == 1 else None)


def _check_needs(cards: Sequence[RewardCard], items: Sequence[Item]) -> None:
    """Stop before anything is loaded where no item has what a reward needs.

    Where only some lack it, warn: those become rows with an error.
    """
    for card in cards:
        if card.needs_prompt:
            lacking = [item for item in items if not (item.prompt and item.prompt.strip())]
            if lacking:
                first = storable(lacking[0].path)
                message = (
                    f"{first} has no prompt and {card.name} needs one ({len(lacking)} of "
                    f"{len(items)} files). Give -p FILE, --prompt TEXT, --prompt-from-name, a "
                    "manifest with a prompt column, or a .txt beside each file"
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
        path = self.root / item.path
        if self.kind == "image":
            return read_image(path, max_pixels=self.max_pixels)
        return read_clip(path, fps=self.fps, frames=self.frames, max_bytes=MAX_CLIP_BYTES)


def _made_by(scorer: Scorer, loader: Loader, reader: Reader) -> dict[str, Any]:
    """What decides the numbers: an output made by anything else is not continued."""
    rewards: dict[str, Any] = {}
    for name, reward in scorer.rewards.items():
        card = reward.card
        parts: dict[str, Any] = {
            f"sha256 of {weights.name}": loader.located[weights.name].sha256
            for weights in card.all_weights
        }
        steps = card.encoder.preprocess if card.encoder else card.preprocess
        if steps:
            parts["preprocess"] = describe_steps(steps)
            parts["dtype"] = str(loader.dtype).removeprefix("torch.")
        if ":" in name:
            parts["sha256"] = sha256_file(Path(name.rpartition(":")[0]))
        rewards[name] = parts
    sampling = {"fps": reader.fps, "frames": reader.frames} if reader.kind == "video" else None
    return {"spec": str(scorer.spec), "rewards": rewards, "sampling": sampling}


def _score(
    scorer: Scorer,
    reader: Reader,
    items: Sequence[Item],
    known: Mapping[str, Row],
    batch_size: int,
    workers: int | None,
    ahead: int,
) -> Iterator[tuple[Sequence[Item], list[tuple[float, Row]]]]:
    """Batches of items with the new rows of each, and when reading each began."""
    batches = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
    todo = [
        [item for item in batch if item.id not in known or known[item.id].error is not None]
        for batch in batches
    ]
    prepared = _prepare(scorer, reader, todo, workers or min(8, cpu_count() or 1), ahead)
    for batch, new, halves in zip(batches, todo, prepared, strict=True):
        good = [
            (item, half)
            for item, (_, half) in zip(new, halves, strict=True)
            if not isinstance(half, Exception)
        ]
        scored = iter(
            scorer.score(
                [half for _, half in good],
                [item.prompt for item, _ in good],
                [item.meta for item, _ in good],
            )
        )
        rows = [
            (began, _row(scorer, item, half if isinstance(half, Exception) else next(scored)))
            for item, (began, half) in zip(new, halves, strict=True)
        ]
        yield batch, rows


_Half: TypeAlias = Prepared | Exception


def _prepare(
    scorer: Scorer, reader: Reader, batches: Sequence[Sequence[Item]], workers: int, ahead: int
) -> Iterator[list[tuple[float, _Half]]]:
    """Batches decoded and prepared in threads, in order, at most `ahead` before the consumer."""

    def work(item: Item) -> tuple[float, _Half]:
        began = time.time()
        try:
            return began, scorer.prepare(reader.read(item))
        except Exception as error:  # becomes the item's row
            return began, error

    pool = ThreadPoolExecutor(workers, thread_name_prefix="rewardkit-decode")
    pending: deque[list[Future[tuple[float, _Half]]]] = deque()
    try:
        for batch in batches:
            pending.append([pool.submit(work, item) for item in batch])
            if len(pending) > ahead:
                yield [future.result() for future in pending.popleft()]
        while pending:
            yield [future.result() for future in pending.popleft()]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _row(scorer: Scorer, item: Item, outcome: Scored | Exception) -> Row:
    if isinstance(outcome, Exception):
        scores: dict[str, float | None] = dict.fromkeys(scorer.rewards)
        error: str | None = describe(outcome)
    else:
        scores = outcome.scores
        # One cause of several rewards is told once; a foreign one needs the reward's name.
        told = [
            describe(e) if isinstance(e, RewardKitError) else f"{name}: {describe(e)}"
            for name, e in outcome.errors.items()
        ]
        error = "; ".join(dict.fromkeys(told)) or None
    return Row(
        id=item.id,
        path=storable(item.path),
        prompt=item.prompt,
        scores=scores,
        total=scorer.spec.total(scores),
        error=error,
    )
