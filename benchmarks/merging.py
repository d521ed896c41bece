"""Merging: the shards of a benchmark, scored by several processes or machines, as one result.

A shard is a result of its own, marked as such.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from os.path import relpath
from pathlib import Path

from benchmarks.benchmark import Benchmark, PromptSet
from benchmarks.results import Result, checksum, file_name, read_result, read_table
from benchmarks.shard import Shard
from benchmarks.summary import sum_up
from rewardkit.errors import InputError, UsageError
from rewardkit.records.differences import first_difference
from rewardkit.records.documents import read_json
from rewardkit.records.provenance import now
from rewardkit.records.rows import Table, write_rows
from rewardkit.records.scorefile import meta_path
from rewardkit.records.storage import write_json

# Of shards that are missing, this many are named.
_NAMED = 10


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
    result = sum_up(
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
        told = [read_json(meta_path(table)) for table in shards]
        read = [float(one["oldest_read"]) for one in told]
        whole = {
            **told[0],
            "oldest_read": min(read) if all(map(math.isfinite, read)) else math.nan,
            "files": {id: file for one in told for id, file in one.get("files", {}).items()},
            "pictures": folder,
            "n_expected": sum(int(one["n_expected"]) for one in told),
            "n_scored": sum(int(one["n_scored"]) for one in told),
            "finished": now(),
        }
        write_json(meta_path(rows), whole)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # Also where it is damaged: what is then written anew by scoring is right in any case.
        meta_path(rows).unlink(missing_ok=True)


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
    lacking = total - len(numbers)
    if lacking:
        # Never a list of all: `total` is a number in a file, which anyone may have written.
        given = set(numbers)
        absent = list(islice((n for n in range(1, total + 1) if n not in given), _NAMED))
        names = ", ".join(f"{number}/{total}" for number in absent)
        more = f" and {lacking - len(absent)} more" if lacking > len(absent) else ""
        raise InputError(
            f"shard {names}{more} {'are' if lacking > 1 else 'is'} missing: score what is missing, "
            "and merge again"
        )
