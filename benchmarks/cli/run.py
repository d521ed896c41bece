"""`rewardkit bench run`, `generate` and `score`: from a model, or its media, to a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli.options import DEVICE, MEDIA, MODEL, PROMPTS, RESULTS, REWARDS, options
from benchmarks.cli.request import RunRequest, SuitePart, title
from rewardkit.cli.terminal import echo
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.shard import Shard
    from rewardkit.generators.pipelines import Pipeline
    from rewardkit.generators.protocol import Protocol


@click.command()
@click.argument("benchmark")
@options(MODEL, PROMPTS, REWARDS, MEDIA, RESULTS, DEVICE)
@click.option(
    "--with-base", is_flag=True,
    help="Run the base model of --tuned too, with the same size, steps, guidance, frames and fps, "
    "and compare them.",
)  # fmt: skip
def run(benchmark: str, **values: Any) -> None:
    """Generate and score the images or videos of BENCHMARK for a model.

    Images are written to DIR/pictures and videos to DIR/clips. The result is
    DIR/MODEL.BENCHMARK.json, with a table of rows beside it. The same command resumes an
    interrupted run.
    """
    from benchmarks.benchmark import Suite, get
    from benchmarks.cli.compare import print_comparison
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.cli.tables import print_results
    from benchmarks.comparing import compare_results
    from benchmarks.runner import ready
    from rewardkit.weights.hub import parse_overrides

    request = RunRequest(**values)
    if request.with_base and request.tuned is None:
        raise UsageError("--with-base goes with --tuned: without it, only the base model is run")
    found = get(benchmark)
    parts = request.parts(found)
    shard = request.shard_of(parts)
    with_base = request.with_base or (isinstance(found, Suite) and request.tuned is not None)
    name = title(request.model, request.tuned) if request.name is None else request.name
    titles = {request.tuned: name}
    if with_base:
        titles[None] = title(request.model, None)
    if len(set(titles.values())) < len(titles):
        raise UsageError(f"{request.name} is the name of the base model: give another --name")
    processes = request.processes
    processes.in_order(lambda: ready(parts, parse_overrides(request.weights), request.endpoint))
    results: list[list[Path]] = []
    protocol: Protocol | None = None
    with ProgressDisplay(processes) as display:
        for tuned, name in titles.items():
            # A training run may have chosen other values than its base model's own: the first, the
            # tuned one, says how both are sampled, or their difference would not be the training's.
            folders, protocol = _generate(display, request, parts, shard, tuned, name, protocol)
            results.insert(
                0,
                [
                    _score(display, request, part, shard, folder, name)
                    for part, folder in zip(parts, folders, strict=True)
                ],
            )
    if not processes.first:
        return
    print_results([path for paths in results for path in paths], request.as_json)
    if with_base and not request.as_json and request.shard is None:
        for of_base, of_tuned in zip(*results, strict=True):
            echo()
            print_comparison(compare_results(of_base, of_tuned))


@click.command()
@click.argument("benchmark")
@options(MODEL, PROMPTS, MEDIA, DEVICE)
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Output folder; several shards can share it.",
)  # fmt: skip
def generate(benchmark: str, **values: Any) -> None:
    """Generate the images or videos of BENCHMARK for scoring later or with upstream tools.

    The same command resumes an interrupted run.
    """
    from benchmarks.benchmark import get
    from benchmarks.cli.progress import ProgressDisplay

    request = RunRequest(**values)
    parts = request.parts(get(benchmark), scored=False)
    shard = request.shard_of(parts)
    processes = request.processes
    with ProgressDisplay(processes) as display:
        pipeline = processes.in_order(lambda: request.load(request.tuned))
        for part in parts:
            folder = request.out if len(parts) == 1 else request.out / part.benchmark.media
            _make(display, request, part, shard, pipeline, folder, request.protocol(pipeline))
            echo(str(folder))


@click.command()
@click.argument("benchmark")
@click.option(
    "--images", "--media", "media", required=True, metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the images or videos, in the layout that `bench show` prints.",
)  # fmt: skip
@options(PROMPTS, REWARDS, MEDIA, RESULTS, DEVICE)
@click.option(
    "--trained-on", metavar="SPEC",
    help="Rewards the model was trained on.  [default: as recorded in DIR]",
)  # fmt: skip
@click.option(
    "--allow-duplicates", is_flag=True, help="Accept identical files for several samples."
)
def score(benchmark: str, media: Path, **values: Any) -> None:
    """Score the images or videos of BENCHMARK in a folder, generated by any tool."""
    from dataclasses import replace

    from benchmarks.benchmark import Benchmark, get
    from benchmarks.cards import making
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.cli.tables import print_results
    from rewardkit.engine.registry import resolve
    from rewardkit.engine.spec import parse

    request = RunRequest(**values)
    found = get(benchmark)
    if not isinstance(found, Benchmark):
        names = ", ".join(part.name for part in found.parts())
        raise UsageError(f"{benchmark} is several benchmarks, {names}: score each by itself")
    made = making(media)
    name = request.name
    if made is not None:
        request = replace(request, samples=request.samples or made.samples)
        name = name or title(made.model.alias or made.model.source, made.lora)
    (part,) = request.parts(found)
    if name is None:
        raise UsageError(f"nothing in {media} says which model made it: give --name")
    spec = request.trained_on
    trained = None if spec is None else {"reward": str(parse(spec, resolve))}
    processes = request.processes
    with ProgressDisplay(processes) as display:
        shard = request.shard_of([part])
        path = _score(display, request, part, shard, media, name, trained)
    if processes.first:
        print_results([path], request.as_json)


def _generate(
    display: ProgressDisplay,
    request: RunRequest,
    parts: Sequence[SuitePart],
    shard: Shard,
    tuned: str | None,
    name: str,
    protocol: Protocol | None,
) -> tuple[list[Path], Protocol]:
    """Makes the media of all parts, in one folder each, and then lets go of the model.

    Args:
        display: shows how far it is.
        request: the options of the command.
        parts: the benchmarks.
        shard: which of their prompts.
        tuned: trained weights; None is the base model.
        name: of the model.
        protocol: how it is sampled; None is as it says itself, with the options.

    Returns:
        The folders, and the protocol that was used.
    """
    from benchmarks.results import file_name
    from rewardkit.media.task import noun_of

    pipeline = request.processes.in_order(lambda: request.load(tuned))
    protocol = protocol or request.protocol(pipeline)
    folders = []
    for part in parts:
        kind = f"{noun_of(part.benchmark.task)}s"
        folders.append(request.out / kind / file_name(part.benchmark.media, name))
        _make(display, request, part, shard, pipeline, folders[-1], protocol)
    return folders, protocol


def _make(
    display: ProgressDisplay,
    request: RunRequest,
    part: SuitePart,
    shard: Shard,
    pipeline: Pipeline,
    folder: Path,
    protocol: Protocol,
) -> None:
    from benchmarks.media import make
    from rewardkit.media.task import noun_of

    samples = part.benchmark.samples
    batch = min(request.batch_size or samples, samples)
    nouns = f"{noun_of(part.benchmark.task)}s"
    display.making(part.benchmark.name, nouns, protocol.steps, batch)
    make(
        part.benchmark,
        part.prompts,
        pipeline,
        folder,
        seed=request.seed,
        protocol=protocol,
        batch_size=batch,
        shard=request.share_of(shard),
        on_medium=display.made,
    )
    request.processes.meet()


def _score(
    display: ProgressDisplay,
    request: RunRequest,
    part: SuitePart,
    shard: Shard,
    folder: Path,
    name: str,
    trained_on: Mapping[str, Any] | None = None,
) -> Path:
    from benchmarks.runner import score as score_media
    from rewardkit.weights.hub import parse_overrides

    display.phase(f"{part.benchmark.name}: scores")
    path = score_media(
        part.benchmark,
        part.prompts,
        folder,
        request.out,
        name=name,
        trained_on=trained_on,
        shard=shard,
        allow_partial=request.allow_partial,
        allow_duplicates=request.allow_duplicates,
        device=request.device,
        weights=parse_overrides(request.weights),
        endpoint=request.endpoint,
        overwrite=request.overwrite,
        processes=request.processes,
        on_check=display.done,
        on_progress=display.scored,
    )
    display.say(f"result: {path}")
    return path
