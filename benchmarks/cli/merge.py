"""`rewardkit bench merge`: merges the shards of a benchmark into one result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from benchmarks.cli.options import PROMPTS, options
from rewardkit.cli.terminal import echo
from rewardkit.errors import InputError, UsageError


@click.command()
@click.argument(
    "shards", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@options(PROMPTS)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder for the merged result.  [default: the folder of the first shard]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def merge(shards: tuple[Path, ...], prompts: str | None, out: Path | None, as_json: bool) -> None:
    """Merge the results of --shard 1/N to N/N into one result."""
    from benchmarks.benchmark import Benchmark, get
    from benchmarks.cli.tables import print_results
    from benchmarks.merging import merge as merge_shards
    from benchmarks.reading import read_result

    # results/*.json also names the files beside the rows.
    shards = tuple(path for path in shards if not path.name.endswith(".parquet.meta.json"))
    if not shards:
        raise UsageError("no result is given; merge takes the results of --shard 1/N to N/N")
    first = read_result(shards[0])
    name, _, _ = first.benchmark.name.partition("/")
    found = get(name)
    if not isinstance(found, Benchmark) or found.version != first.benchmark.version:
        raise InputError(
            f"{shards[0]} is of {first.benchmark.name}, version {first.benchmark.version}, which "
            "this rewardkit does not have: merge shards with the version that scored them"
        )
    benchmark = found.on(prompts).by("+".join(first.metrics) if found.rewards is None else None)
    assert benchmark.prompts is not None
    read = benchmark.prompts()
    if read.sha256 != first.prompts.sha256:
        raise InputError(
            f"{shards[0]} was made with other prompts than those in {read.source}: merge it with "
            "the same"
        )
    # The file of the prompts may have another name now than when the shards were scored.
    benchmark = replace(benchmark, name=first.benchmark.name)
    path = merge_shards(shards, benchmark, read, out or shards[0].parent)
    echo(f"result: {path}", err=True)
    print_results([path], as_json)
