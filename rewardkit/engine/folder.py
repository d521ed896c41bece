"""Score a folder: what is wanted, which files are meant, and then `rewardkit.engine.items`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from rewardkit.engine.card import RewardCard
from rewardkit.engine.items import Progress, Report, score_items
from rewardkit.engine.loader import Loader, check_endpoint
from rewardkit.engine.reading import Reader
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.reward import GroupReward
from rewardkit.engine.spec import RewardSpec, parse
from rewardkit.errors import UsageError
from rewardkit.media.batch import Kind
from rewardkit.media.files import refuse_address
from rewardkit.media.images import MAX_PIXELS
from rewardkit.media.leftovers import remarks
from rewardkit.media.prompts import attach
from rewardkit.media.sampling import check_choice
from rewardkit.media.sources import Item, find, kind_of_file
from rewardkit.processes import ALONE, Processes
from rewardkit.records.rows import check_format, storable
from rewardkit.service import Endpoint

_log = logging.getLogger("rewardkit")
Paths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


def score_folder(
    inputs: Paths,
    rewards: str,
    *,
    prompts: str | Path | None = None,
    prompt: str | None = None,
    prompt_from_name: bool = False,
    prompt_from_metadata: bool = False,
    path_column: str | None = None,
    prompt_column: str | None = None,
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    kind: Kind | None = None,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, str | Path] | None = None,
    endpoint: Endpoint | None = None,
    batch_size: int = 32,
    workers: int | None = None,
    fps: float | None = None,
    frames: int | None = None,
    max_pixels: int = MAX_PIXELS,
    stdin: BinaryIO | None = None,
    processes: Processes = ALONE,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """Score pictures or clips from folders, files, globs, or manifests.

    Args:
        inputs: one or several; "-" reads paths from `stdin`. See `rewardkit.media.sources`.
        rewards: a reward spec such as "clip+sharpness".
        prompts: a file of prompts; see `rewardkit.media.prompts`.
        prompt: one prompt for every item.
        prompt_from_name: take each item's prompt from its file name.
        prompt_from_metadata: take it from what A1111 or ComfyUI wrote into the file.
        path_column: the column of `prompts`, else of manifests, that names the files.
        prompt_column: the column of `prompts`, else of manifests, with the prompts.
        output: a .parquet, .csv or .jsonl file. An earlier run's rows in it are reused; one that
            was made by other rewards, weights or prompts is refused.
        overwrite: score everything again, and replace `output`.
        kind: "image" or "video", to score only these where the inputs hold both.
        device: see `rewardkit.create`, as `dtype` and `weights`.
        dtype: of the networks.
        weights: local files by name.
        endpoint: see `rewardkit.create`.
        batch_size: samples scored at once.
        workers: threads that decode and preprocess; by default one per processor, at most 8.
        fps: sample clips at this rate.
        frames: sample this many frames of each clip.
        max_pixels: refuse larger pictures.
        stdin: the stream that "-" reads.
        processes: the processes of which each makes this call and scores a share. They need one
            file system, and `output`, which the first writes when all have finished.
        on_progress: called once everything is loaded, and after every batch.

    Returns:
        The rows, of all processes. A sample that cannot be scored is a row with an error, never an
        exception.

    Raises:
        UsageError: nothing was scored: the request cannot be met as it stands.
        InputError: `output` was made otherwise.
        WeightsError: weights cannot be had.
    """
    many = [str(path) for path in ([inputs] if isinstance(inputs, str | PathLike) else inputs)]

    def found() -> tuple[RewardSpec, Kind | None, list[Item]]:
        spec = check_request(rewards, output, batch_size, workers)
        if output is None and not processes.alone:
            raise UsageError(
                f"{processes.size} processes write what they have scored to a file: give -o FILE"
            )
        check_choice(fps, frames)
        for path in many:
            refuse_address(path)
        cards = _cards(spec)
        check_endpoint(cards, endpoint)
        references = dict.fromkeys(name for card in cards for name in card.needs_references)
        columns: dict[str, Any] = {"path_column": path_column, "prompt_column": prompt_column}
        of_inputs = columns if prompts is None else {}
        media = find(many, _kind(cards, kind), stdin=stdin, references=references, **of_inputs)
        if kind is None:
            _refuse_mixed(cards, [*(item.path for item in media.items), *media.skipped])
        unprompted = prompts is prompt is None and not (prompt_from_name or prompt_from_metadata)
        for remark in remarks(media.skipped, manifests=unprompted):
            _log.warning(storable(remark))
        for reason in media.unreadable:
            _log.warning(f"a folder could not be searched: {storable(reason)}")
        if media.kind == "image" and (fps is not None or frames is not None):
            raise UsageError("fps and frames choose frames of clips, and these are pictures")
        items = attach(
            media.items,
            file=prompts,
            text=prompt,
            from_name=prompt_from_name,
            from_metadata=prompt_from_metadata,
            references=references,
            **({} if prompts is None else columns),
        )
        return spec, media.kind, items

    spec, found_kind, items = processes.share(found)
    return score_items(
        items,
        spec,
        reader=Reader(found_kind, fps, frames, max_pixels),
        output=output,
        overwrite=overwrite,
        loader=lambda: Loader(processes.device(device), dtype, weights, endpoint=endpoint),
        batch_size=batch_size,
        workers=workers,
        about={"inputs": many},
        processes=processes,
        on_progress=on_progress,
    )


def check_request(
    rewards: str, output: str | PathLike[str] | None, batch_size: int, workers: int | None
) -> RewardSpec:
    """The reward spec, checked as far as that is possible without files.

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


def _cards(spec: RewardSpec) -> list[RewardCard]:
    entries = [entry(name) for name in spec.names]
    for known in entries:
        if issubclass(known.cls, GroupReward):
            raise UsageError(
                f"{known.card.name} compares the samples of a group and serves training only; "
                "files have no groups"
            )
    return [known.card for known in entries]


def _kind(cards: Sequence[RewardCard], wanted: Kind | None) -> Kind | None:
    """The kind of media every card takes; None where that leaves a choice to the files."""
    kinds = [k for k in ("image", "video") if all(k in card.inputs for card in cards)]
    if not kinds:
        taken = ", ".join(f"{card.name} takes {card.takes}" for card in cards)
        raise UsageError(
            f"no file can be scored by all of these at once: {taken}. Score them apart"
        )
    if wanted is not None and wanted not in kinds:
        taken = ", ".join(
            f"{card.name} takes {card.takes}" for card in cards if wanted not in card.inputs
        )
        raise UsageError(f"{wanted} files cannot be scored by all of these: {taken}")
    return wanted or (cast(Kind, kinds[0]) if len(kinds) == 1 else None)


def _refuse_mixed(cards: Sequence[RewardCard], paths: Sequence[str]) -> None:
    """Refuses pictures and clips together if a reward takes one of them: it would score a part.

    Raises:
        UsageError: there are both, and a reward does not take both.
    """
    takes_one = [card for card in cards if len(card.inputs) == 1]
    files = {k: [path for path in paths if kind_of_file(path) == k] for k in ("image", "video")}
    if takes_one and all(files.values()):
        counts = " and ".join(f"{len(f)} {k}s, such as {f[0]!r}" for k, f in files.items())
        taken = takes_one[0].inputs[0]
        other = "video" if taken == "image" else "image"
        names = ", ".join(card.name for card in takes_one)
        raise UsageError(
            f"there are {counts}, but {names} {'score' if len(takes_one) > 1 else 'scores'} only "
            f"{taken}s. Choose them with --input {taken}, and score the {other}s by rewards that "
            f"take them (`rewardkit list --input {other}`)"
        )
