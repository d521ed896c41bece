"""Scoring the pictures of a benchmark: check, score, sum up, write down; and merging shards.

A run that was killed goes on where it was: rows are journaled beside the result. Shards are results
of their own, marked as such, and `merge` makes the whole of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.benchmark import Benchmark, PromptSet
from benchmarks.pictures import Making, check
from benchmarks.results import (
    BenchmarkInfo,
    ModelInfo,
    PictureInfo,
    PromptInfo,
    ProtocolInfo,
    Result,
    checksum,
    file_name,
    read_result,
    read_table,
    scored,
)
from benchmarks.shard import WHOLE, Shard
from benchmarks.summary import metrics
from rewardkit.errors import InputError, UsageError
from rewardkit.media.sources import Item
from rewardkit.records.provenance import now, versions
from rewardkit.records.rows import Table, write_rows
from rewardkit.records.scorefile import meta_path
from rewardkit.records.storage import first_difference, write_json

if TYPE_CHECKING:
    from rewardkit.engine.folder import Progress


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
    from rewardkit.models.hub import locate

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
    from rewardkit.engine.folder import Reader, check_request, score_items
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
    result = _result(
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


def merge(paths: Sequence[Path], benchmark: Benchmark, prompts: PromptSet, out: Path) -> Path:
    """The whole of shards that were scored apart.

    Args:
        paths: the results of shards.
        benchmark: theirs.
        prompts: of it.
        out: the folder of the merged result.

    Raises:
        UsageError: a result is no shard, or one is given twice.
        InputError: they are not shards of one whole, some are missing, or rows are of others.
    """
    parts = [read_result(path) for path in paths]
    _check_shards(parts, paths)
    first = parts[0]
    benchmark = benchmark.with_samples(first.protocol.samples)
    by_id = {}
    for part, path in zip(parts, paths, strict=True):
        known = {
            case.id(sample)
            for case in Shard.parse(part.shard or "").of(prompts.cases)
            for sample in range(benchmark.samples)
        }
        for row in read_table(part, path).rows:
            if row.id not in known:
                raise InputError(f"{path.parent / part.rows} has a row {row.id!r} of no such shard")
            # Paths are from the folder of their table.
            by_id[row.id] = replace(row, path=relpath(path.parent / row.path, out))
    ids = [case.id(sample) for case in prompts.cases for sample in range(benchmark.samples)]
    rewards = tuple(first.metrics)
    with_total = read_table(first, paths[0]).with_total
    whole = Table(tuple(by_id[id] for id in ids if id in by_id), rewards, with_total)
    stem = file_name(benchmark.name, first.model.name)
    rows = out / f"{stem}.parquet"
    write_rows(rows, whole.rows, whole.rewards, whole.with_total)
    folder = Path(relpath(paths[0].parent / first.pictures.folder, out)).as_posix()
    tables = [path.parent / part.rows for part, path in zip(parts, paths, strict=True)]
    _merge_provenance(tables, rows, folder)
    digests = [part.pictures.sha256 for part in parts]
    result = _result(
        benchmark,
        prompts,
        whole,
        rows=rows.name,
        model=first.model,
        protocol=first.protocol,
        pictures=first.pictures.model_copy(update={"folder": folder, "sha256": checksum(digests)}),
        shard=None,
        rewards=first.rewards,
        weights=first.weights,
        versions=first.versions,
        device=", ".join(sorted({part.device for part in parts})),
    )
    path = out / f"{stem}.json"
    write_json(path, result.model_dump(mode="json"))
    return path


def _merge_provenance(shards: Sequence[Path], rows: Path, folder: str) -> None:
    """What stands beside tables, for that of the whole, so that scoring can go on from it.

    A shard may have come without: then there is none, and scoring the whole begins afresh.
    """
    try:
        told = [json.loads(meta_path(table).read_text("utf-8")) for table in shards]
        whole = {
            **told[0],
            "oldest_read": min(one["oldest_read"] for one in told),
            "pictures": folder,
            "n_expected": sum(one["n_expected"] for one in told),
            "n_scored": sum(one["n_scored"] for one in told),
            "finished": now(),
        }
    except (OSError, ValueError, KeyError):
        meta_path(rows).unlink(missing_ok=True)
        return
    write_json(meta_path(rows), whole)


def _result(
    benchmark: Benchmark, prompts: PromptSet, table: Table, *, shard: str | None, **known: Any
) -> Result:
    pictures = scored(table)
    found = metrics(benchmark, prompts.cases, pictures)
    metric = table.rewards[0]
    headline = found[metric].headline
    whole = [one for one in pictures if all(value is not None for value in one.scores.values())]
    expected = len(prompts.cases) * benchmark.samples
    return Result(
        score=headline.score,
        interval=headline.interval,
        complete=len(whole) == expected,
        n_expected=expected,
        n_scored=len(whole),
        shard=shard,
        benchmark=BenchmarkInfo(
            name=benchmark.name,
            version=benchmark.version,
            task="text-to-image",
            metric=metric,
            headline=benchmark.headline,
            unit=benchmark.unit,
            scale=benchmark.scale,
        ),
        metrics=found,
        figures=benchmark.figures(whole) if whole else {},
        prompts=PromptInfo(source=prompts.source, sha256=prompts.sha256, number=len(prompts.cases)),
        created=now(),
        **known,
    )


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


def _check_shards(parts: Sequence[Result], paths: Sequence[Path]) -> None:
    """Refuses what is not all the shards of one whole."""
    for part, path in zip(parts, paths, strict=True):
        if part.shard is None:
            raise UsageError(f"{path} is no shard; merge takes the results of --shard 1/N to N/N")
    # The checksums of weights are among `rewards`; where files lie may differ between machines.
    alike = {"benchmark", "model", "prompts", "protocol", "rewards", "versions"}
    same = [
        part.model_dump(mode="json", include=alike, exclude={"prompts": {"source"}})
        for part in parts
    ]
    for path, told in zip(paths[1:], same[1:], strict=True):
        different = first_difference(same[0], told)
        if different is not None:
            raise InputError(
                f"{paths[0]} and {path} are not of one run: {different.key} is {different.before} "
                f"and {different.after}"
            )
    shards = [Shard.parse(part.shard or "") for part in parts]
    numbers = sorted(shard.number for shard in shards)
    total = shards[0].total
    if any(shard.total != total for shard in shards) or len(set(numbers)) < len(numbers):
        raise UsageError(
            f"shards {', '.join(map(str, shards))} are given; accepted are shards of one number, "
            "each once"
        )
    absent = sorted(set(range(1, total + 1)) - set(numbers))
    if absent:
        names = ", ".join(f"{number}/{total}" for number in absent)
        raise InputError(f"shard {names} is missing: score it, and merge again")
