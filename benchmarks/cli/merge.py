"""`rewardkit bench merge`: the shards of a benchmark become one result."""

from __future__ import annotations

from pathlib import Path

import click

from rewardkit.errors import UsageError


@click.command()
@click.argument(
    "shards", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("-p", "--prompts", metavar="FILE", help="Of the benchmark `prompts`: as it was run.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="The folder of the merged result.  [default: that of the first shard]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def merge(shards: tuple[Path, ...], prompts: str | None, out: Path | None, as_json: bool) -> None:
    """Merge the results of --shard 1/N to N/N, whichever machines made them."""
    from benchmarks.benchmark import Benchmark, get
    from benchmarks.cli.tables import print_results
    from benchmarks.results import read_result
    from benchmarks.runner import merge as merge_shards

    first = read_result(shards[0])
    family, _, title = first.benchmark.name.partition("/")
    found = get(family)
    assert isinstance(found, Benchmark), "a result is of a benchmark"
    if title and prompts is None:
        raise UsageError(f"{shards[0]} is of {first.benchmark.name}: give its --prompts")
    one = found.given(prompts, "+".join(first.metrics) if title else None)
    assert one.prompts is not None
    read = one.prompts()
    if read.sha256 != first.prompts.sha256:
        raise UsageError(f"{prompts} holds other prompts than {shards[0]} was made with")
    path = merge_shards(shards, one, read, out or shards[0].parent)
    click.echo(f"result: {path}", err=True)
    print_results([path], as_json)
