"""Merging: the shards of a benchmark, scored by several processes or machines, become one result.

A shard is a result of its own, marked as a shard.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from os.path import relpath
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Benchmark
from benchmarks.prompts import PromptSet
from benchmarks.reading import read_result, read_table
from benchmarks.results import Result, file_name
from benchmarks.rows import checksum
from benchmarks.shard import Shard
from benchmarks.summary import sum_up
from rewardkit.errors import InputError, UsageError
from rewardkit.records.differences import first_difference
from rewardkit.records.documents import read_json
from rewardkit.records.provenance import now
from rewardkit.records.rows import Table, write_rows
from rewardkit.records.scorefile import meta_path
from rewardkit.records.storage import write_json

# Number of missing shards that are named.
_NAMED = 10


def merge(paths: Sequence[Path], benchmark: Benchmark, prompts: PromptSet, out: Path) -> Path:
    """Merges shards that were scored apart; the path of the whole result.

    Args:
        paths: the results of the shards.
        benchmark: the benchmark they are of.
        prompts: its prompts.
        out: the folder of the merged result.

    Raises:
        UsageError: a result is not a shard, or a shard is given twice.
        InputError: they are not shards of one run, some are missing, or rows are those of others.
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
                raise InputError(
                    f"{path.parent / part.rows} has a row {row.id!r}, which is not of this shard"
                )
            # Paths are relative to the folder of their table.
            by_id[row.id] = replace(row, path=relpath(path.parent / row.path, out))
    ids = [case.id(sample) for case in prompts.cases for sample in range(benchmark.samples)]
    table = read_table(first, paths[0])
    rows_of_all = tuple(by_id[id] for id in ids if id in by_id)
    whole = Table(rows_of_all, table.rewards, table.with_total)
    stem = file_name(benchmark.name, first.model.name)
    rows = out / f"{stem}.parquet"
    write_rows(rows, whole.rows, whole.rewards, whole.with_total)
    folder = Path(relpath(paths[0].parent / first.media.folder, out)).as_posix()
    tables = [path.parent / part.rows for part, path in zip(parts, paths, strict=True)]
    _merge_provenance(tables, rows, folder)
    digests = [part.media.sha256 for part in parts]
    result = sum_up(
        benchmark,
        prompts,
        whole,
        rows=rows.name,
        model=first.model,
        protocol=first.protocol,
        media=first.media.model_copy(update={"folder": folder, "sha256": checksum(digests)}),
        shard=None,
        rewards=_of_any([part.rewards for part in parts]),
        weights=_of_any([part.weights for part in parts]),
        versions=first.versions,
        device=", ".join(sorted({part.device for part in parts})),
    )
    path = out / f"{stem}.json"
    write_json(path, result.model_dump(mode="json"))
    return path


def _merge_provenance(shards: Sequence[Path], rows: Path, folder: str) -> None:
    """Merges the provenance beside the tables of shards, so that scoring can continue from it.

    A shard may have come without its provenance. Then the whole has none, and scoring it starts
    afresh.
    """
    try:
        parts = [read_json(meta_path(table)) for table in shards]
        read = [float(part["oldest_read"]) for part in parts]
        whole = {
            **parts[0],
            "oldest_read": min(read) if all(map(math.isfinite, read)) else math.nan,
            "files": {id: file for part in parts for id, file in part.get("files", {}).items()},
            "media": folder,
            "n_expected": sum(int(part["n_expected"]) for part in parts),
            "n_scored": sum(int(part["n_scored"]) for part in parts),
            "finished": now(),
        }
        write_json(meta_path(rows), whole)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        # Scoring writes a correct one again.
        meta_path(rows).unlink(missing_ok=True)


def _of_any(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the first part that has it says of each name."""
    return {name: value for part in reversed(parts) for name, value in part.items()}


def _check_shards(parts: Sequence[Result], paths: Sequence[Path]) -> None:
    """Refuses results that are not all the shards of one run."""
    for part, path in zip(parts, paths, strict=True):
        if part.shard is None:
            raise UsageError(
                f"{path} is not a shard; merge takes the results of --shard 1/N to N/N"
            )
    # The checksums of weights are in `rewards`; the places of files may differ between machines.
    # A shard without a prompt for a reward has not loaded it.
    rewards = _of_any([part.rewards for part in parts])
    same = [
        {
            **part.measure(),
            "rewards": rewards | part.rewards,
            **part.model_dump(mode="json", include={"model", "protocol", "versions"}),
        }
        for part in parts
    ]
    for path, other in zip(paths[1:], same[1:], strict=True):
        different = first_difference(same[0], other)
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
            f"the shards {', '.join(map(str, shards))} are given; give every shard of one total "
            "number once"
        )
    lacking = total - len(numbers)
    if lacking:
        # Not a list of all: `total` comes from a file, and may be any number.
        present = set(numbers)
        absent = list(islice((n for n in range(1, total + 1) if n not in present), _NAMED))
        names = ", ".join(f"{number}/{total}" for number in absent)
        more = f" and {lacking - len(absent)} more" if lacking > len(absent) else ""
        raise InputError(
            f"shard {names}{more} {'are' if lacking > 1 else 'is'} missing: score what is missing, "
            "and merge again"
        )
