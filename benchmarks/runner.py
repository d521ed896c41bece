"""Scoring the pictures of a benchmark: check, score, sum up, write down.

A run that was killed goes on where it was: rows are journaled beside the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.benchmark import Benchmark, PromptSet
from benchmarks.pictures import Making, check
from benchmarks.results import ModelInfo, PictureInfo, ProtocolInfo, file_name
from benchmarks.shard import WHOLE, Shard
from benchmarks.summary import sum_up
from rewardkit.errors import InputError, UsageError
from rewardkit.media.sources import Item
from rewardkit.records.provenance import versions
from rewardkit.records.rows import Table
from rewardkit.records.storage import write_json

if TYPE_CHECKING:
    from rewardkit.engine.items import Progress


def ready(parts: Sequence[tuple[Benchmark, PromptSet]], weights: Mapping[str, Path]) -> None:
    """Finds what scoring will need, weights too, so that no pictures are made in vain.

    Args:
        parts: benchmarks that are about to be run, with their prompts.
        weights: local files by name.

    Raises:
        UsageError: a reward takes no pictures, or needs what the prompts' lines do not say, or a
            local file is of no reward.
        WeightsError: weights cannot be had.
    """
    from rewardkit.engine.folder import check_request
    from rewardkit.engine.loader import check_overrides
    from rewardkit.engine.registry import entry
    from rewardkit.weights.hub import locate

    cards = []
    for benchmark, prompts in parts:
        assert benchmark.rewards is not None
        own = [entry(name).card for name in check_request(benchmark.rewards, None, 1, None).names]
        for card in own:
            if "image" not in card.inputs:
                raise UsageError(f"{card.name} takes no pictures, and {benchmark.name} makes some")
            for key in card.needs_meta:
                lacking = [case for case in prompts.cases if key not in case.meta]
                if lacking:
                    raise UsageError(
                        f"{card.name} needs the key {key!r} of each prompt's line, and "
                        f"{len(lacking)} of {len(prompts.cases)} in {prompts.source} have none"
                    )
        cards += own
    check_overrides(weights, cards)
    for file in dict.fromkeys(file for card in cards for file in card.all_weights):
        locate(file, weights)


def score(
    benchmark: Benchmark,
    prompts: PromptSet,
    folder: Path,
    out: Path,
    *,
    name: str,
    trained_on: Mapping[str, Any] | None = None,
    shard: Shard = WHOLE,
    allow_partial: bool = False,
    allow_duplicates: bool = False,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, Path] | None = None,
    batch_size: int = 32,
    overwrite: bool = False,
    on_check: Callable[[int, int], None] = lambda done, total: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """The path of the result of a benchmark on the pictures in `folder`.

    Args:
        benchmark: which.
        prompts: of it.
        folder: the pictures, as the benchmark's layout has them.
        out: the folder of results.
        name: of the model, as tables call it.
        trained_on: what the model was trained on, where the pictures do not say.
        shard: which prompts.
        allow_partial: score what is there, and mark the result.
        allow_duplicates: see `benchmarks.pictures.check`.
        device: of the rewards.
        dtype: of their networks.
        weights: local files by name.
        batch_size: pictures scored at once.
        overwrite: score everything anew.
        on_check: told while pictures are opened.
        on_progress: told while they are scored.

    Raises:
        UsageError: the request cannot be met.
        InputError: the pictures are not what they should be, or some could not be scored.
        WeightsError: weights cannot be had.
    """
    from rewardkit.engine.folder import check_request
    from rewardkit.engine.items import Reader, score_items
    from rewardkit.engine.loader import Loader

    assert benchmark.rewards is not None
    stem = file_name(benchmark.name, name, None if shard == WHOLE else str(shard))
    rows = out / f"{stem}.parquet"
    spec = check_request(benchmark.rewards, rows, batch_size, None)
    checked = check(
        benchmark,
        prompts,
        folder,
        shard=shard,
        allow_partial=allow_partial,
        allow_duplicates=allow_duplicates,
        on_picture=on_check,
    )
    items = [
        Item(case.id(sample), relpath(path, out), case.prompt, case.meta)
        for case in shard.of(prompts.cases)
        for sample in range(benchmark.samples)
        if (path := checked.paths.get((case.index, sample))) is not None
    ]
    report = score_items(
        items,
        spec,
        reader=Reader("image", root=out),
        loader=lambda: Loader(device, dtype, weights),
        output=rows,
        overwrite=overwrite,
        batch_size=batch_size,
        about={"pictures": relpath(folder, out)},
        on_progress=on_progress,
    )
    if report.failed and not allow_partial:
        first = next(row for row in report.rows if row.error is not None)
        raise InputError(
            f"{report.failed} of {len(report.rows)} pictures could not be scored; first {first.id}:"
            f" {first.error}. The same command tries them again; --allow-partial reports the rest, "
            "marked as incomplete"
        )
    result = sum_up(
        benchmark,
        prompts,
        Table(tuple(report.rows), report.rewards, report.spec.has_total),
        rows=rows.name,
        model=_model(name, checked.made, trained_on),
        protocol=_protocol(benchmark.samples, checked.made),
        pictures=PictureInfo(
            folder=Path(relpath(folder, out)).as_posix(),
            made_here=checked.made is not None,
            sha256=checked.sha256,
        ),
        shard=None if shard == WHOLE else str(shard),
        rewards=report.made_by["rewards"],
        weights=dict(report.weights),
        versions=versions(),
        device=report.device,
    )
    path = out / f"{stem}.json"
    write_json(path, result.model_dump(mode="json"))
    return path


def _model(name: str, made: Making | None, trained_on: Mapping[str, Any] | None) -> ModelInfo:
    told = None if trained_on is None else dict(trained_on)
    if made is None:
        return ModelInfo(name=name, trained_on=told)
    return ModelInfo(
        name=name,
        source=made.model.source,
        alias=made.model.alias,
        revision=made.model.revision,
        lora=made.lora,
        trained_on=told or made.trained_on,
    )


def _protocol(samples: int, made: Making | None) -> ProtocolInfo:
    if made is None:
        return ProtocolInfo(samples=samples)
    return ProtocolInfo(
        samples=samples,
        seed=made.seed,
        sampling=made.protocol,
        scheduler=made.scheduler,
        dtype=made.dtype,
        batch=made.batch,
    )
