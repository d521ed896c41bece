"""Scoring the pictures of a benchmark: check, score, sum up, write down; and merging shards.

A run that was killed goes on where it was: rows are journaled beside the result. Shards are results
of their own, marked as such, and `merge` makes the whole of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.benchmark import Benchmark, PromptSet
from benchmarks.pictures import Checked, check
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
from rewardkit.models.gallery import made_by
from rewardkit.records.provenance import now, versions
from rewardkit.records.rows import Table, write_rows
from rewardkit.records.storage import first_difference, write_json

if TYPE_CHECKING:
    from rewardkit.engine.folder import Progress


def score(
    benchmark: Benchmark,
    prompts: PromptSet,
    folder: Path,
    out: Path,
    *,
    name: str,
    samples: int,
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
        samples: pictures of each prompt.
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
    made = made_by(folder)
    checked = check(
        benchmark,
        prompts,
        folder,
        samples=samples,
        shard=shard,
        allow_partial=allow_partial,
        # What a model made here is its own, be it twice the same.
        allow_duplicates=allow_duplicates or made is not None,
        on_picture=on_check,
    )
    items = [
        Item(case.id(sample), relpath(path, out), case.prompt, case.meta)
        for case in shard.of(prompts.cases)
        for sample in range(samples)
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
    assert report.spec.names, "a spec has a term"
    result = _result(
        benchmark,
        prompts,
        Table(tuple(report.rows), report.rewards, report.spec.has_total),
        rows=rows.name,
        model=_model(name, made, trained_on),
        protocol=_protocol(samples, made),
        pictures=_pictures(folder, out, made, checked),
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
        InputError: they are not shards of one whole, or some are missing.
    """
    parts = [read_result(path) for path in paths]
    _check_shards(parts, paths)
    first = parts[0]
    tables = [read_table(part, path) for part, path in zip(parts, paths, strict=True)]
    order = {
        case.id(sample): (case.index, sample)
        for case in prompts.cases
        for sample in range(first.protocol.samples)
    }
    merged = sorted((row for table in tables for row in table.rows), key=lambda row: order[row.id])
    stem = file_name(benchmark.name, first.model.name)
    rows = out / f"{stem}.parquet"
    whole = Table(tuple(merged), tables[0].rewards, tables[0].with_total)
    write_rows(rows, whole.rows, whole.rewards, whole.with_total)
    result = _result(
        benchmark,
        prompts,
        whole,
        rows=rows.name,
        model=first.model,
        protocol=first.protocol,
        pictures=first.pictures.model_copy(
            update={"sha256": checksum([part.pictures.sha256 for part in parts])}
        ),
        shard=None,
        rewards=first.rewards,
        weights=first.weights,
        versions=first.versions,
        device=", ".join(sorted({part.device for part in parts})),
    )
    path = out / f"{stem}.json"
    write_json(path, result.model_dump(mode="json"))
    return path


def _result(
    benchmark: Benchmark, prompts: PromptSet, table: Table, *, shard: str | None, **known: Any
) -> Result:
    pictures = scored(table)
    protocol: ProtocolInfo = known["protocol"]
    found = metrics(benchmark, prompts.cases, protocol.samples, pictures)
    metric = table.rewards[0]
    headline = found[metric].headline
    whole = [one for one in pictures if all(value is not None for value in one.scores.values())]
    expected = len(prompts.cases) * protocol.samples
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


def _model(
    name: str, made: Mapping[str, Any] | None, trained_on: Mapping[str, Any] | None
) -> ModelInfo:
    told = made or {}
    own = told.get("trained_on")
    return ModelInfo(
        name=name,
        **told.get("model", {}),
        lora=told.get("lora"),
        trained_on=dict(trained_on) if trained_on is not None else own,
    )


def _protocol(samples: int, made: Mapping[str, Any] | None) -> ProtocolInfo:
    told = made or {}
    return ProtocolInfo(
        samples=samples,
        seed=told.get("seed"),
        sampling=told.get("protocol"),
        scheduler=told.get("scheduler"),
        dtype=told.get("dtype"),
        batch=told.get("batch"),
    )


def _pictures(
    folder: Path, out: Path, made: Mapping[str, Any] | None, checked: Checked
) -> PictureInfo:
    return PictureInfo(
        folder=Path(relpath(folder, out)).as_posix(),
        made_here=made is not None,
        sha256=checked.sha256,
    )


def _check_shards(parts: Sequence[Result], paths: Sequence[Path]) -> None:
    """Refuses what is not all the shards of one whole."""
    for part, path in zip(parts, paths, strict=True):
        if part.shard is None:
            raise UsageError(f"{path} is no shard; merge takes the results of --shard 1/N to N/N")
    same = [
        part.model_dump(
            mode="json",
            include={"benchmark", "model", "prompts", "protocol", "rewards", "weights", "versions"},
        )
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
