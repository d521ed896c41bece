"""`rewardkit bench run`, `generate` and `score`: from a model, or its media, to a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.cli.options import DEVICE, MEDIA, MODEL, PROMPTS, RESULTS, REWARDS, options
from benchmarks.cli.request import Part, Request, title
from rewardkit.cli.terminal import echo
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.cli.progress import Display
    from benchmarks.shard import Shard
    from rewardkit.generators.pipelines import Pipeline


@click.command()
@click.argument("benchmark")
@options(MODEL, PROMPTS, REWARDS, MEDIA, RESULTS, DEVICE)
@click.option("--with-base", is_flag=True, help="Run the base model of --lora too, and compare.")
def run(benchmark: str, **given: Any) -> None:
    """Generate and score the pictures or clips of BENCHMARK for a model, and sum the scores up.

    Pictures go to DIR/pictures and clips to DIR/clips; the result is DIR/MODEL.BENCHMARK.json with
    its rows beside it. The same command continues an interrupted run.
    """
    from benchmarks.benchmark import Suite, get
    from benchmarks.cli.compare import print_comparison
    from benchmarks.cli.progress import Display
    from benchmarks.cli.tables import print_results
    from benchmarks.comparing import compare_results
    from benchmarks.runner import ready
    from rewardkit.weights.hub import parse_overrides

    request = Request(**given)
    if request.with_base and request.lora is None:
        raise UsageError("--with-base goes with --lora: without it, the base model is all there is")
    found = get(benchmark)
    parts = request.parts(found)
    shard = request.shard_of(parts)
    with_base = request.with_base or (isinstance(found, Suite) and request.lora is not None)
    name = title(request.model, request.lora) if request.name is None else request.name
    titles = {request.lora: name}
    if with_base:
        titles = {None: title(request.model, None), **titles}
    if len(set(titles.values())) < len(titles):
        raise UsageError(f"{request.name} is the name of the base model: give another --name")
    ready(parts, parse_overrides(request.weights))
    results: list[list[Path]] = []
    with Display() as display:
        for lora, name in titles.items():
            folders = _generate(display, request, parts, shard, lora, name)
            results.append(
                [
                    _score(display, request, part, shard, folder, name)
                    for part, folder in zip(parts, folders, strict=True)
                ]
            )
    print_results([path for paths in results for path in paths], request.as_json)
    if with_base and not request.as_json and request.shard is None:
        for base, tuned in zip(*results, strict=True):
            echo()
            print_comparison(compare_results(base, tuned))


@click.command()
@click.argument("benchmark")
@options(MODEL, PROMPTS, MEDIA, DEVICE)
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder of the pictures or clips; several shards may share it.",
)  # fmt: skip
def generate(benchmark: str, **given: Any) -> None:
    """Make the pictures or clips of BENCHMARK, to be scored later or by upstream's own tools.

    The same command continues an interrupted run.
    """
    from benchmarks.benchmark import get
    from benchmarks.cli.progress import Display

    request = Request(**given)
    parts = request.parts(get(benchmark), scored=False)
    shard = request.shard_of(parts)
    with Display() as display:
        pipeline = request.load(request.lora)
        for part in parts:
            folder = request.out if len(parts) == 1 else request.out / part.benchmark.media
            _make(display, request, part, shard, pipeline, folder)
            echo(str(folder))


@click.command()
@click.argument("benchmark")
@click.option(
    "--images", "--media", "media", required=True, metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the pictures or clips, named as `bench show` says.",
)  # fmt: skip
@options(PROMPTS, REWARDS, MEDIA, RESULTS, DEVICE)
@click.option(
    "--trained-on", metavar="SPEC",
    help="Rewards the model was trained on.  [default: what the card in DIR says]",
)  # fmt: skip
@click.option(
    "--allow-duplicates", is_flag=True, help="Accept the same picture or clip in several places."
)
def score(benchmark: str, media: Path, **given: Any) -> None:
    """Score the pictures or clips of BENCHMARK that are in a folder, whoever made them."""
    from dataclasses import replace

    from benchmarks.benchmark import Benchmark, get
    from benchmarks.cards import making
    from benchmarks.cli.progress import Display
    from benchmarks.cli.tables import print_results
    from rewardkit.engine.registry import resolve
    from rewardkit.engine.spec import parse

    request = Request(**given)
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
    with Display() as display:
        shard = request.shard_of([part])
        path = _score(display, request, part, shard, media, name, trained)
    print_results([path], request.as_json)


def _generate(
    display: Display,
    request: Request,
    parts: Sequence[Part],
    shard: Shard,
    lora: str | None,
    name: str,
) -> list[Path]:
    """Makes the media of all parts, in one folder each, and then lets go of the model."""
    from benchmarks.results import file_name
    from rewardkit.media.task import noun_of

    pipeline = request.load(lora)
    folders = []
    for part in parts:
        kind = f"{noun_of(part.benchmark.task)}s"
        folders.append(request.out / kind / file_name(part.benchmark.media, name))
        _make(display, request, part, shard, pipeline, folders[-1])
    return folders


def _make(
    display: Display,
    request: Request,
    part: Part,
    shard: Shard,
    pipeline: Pipeline,
    folder: Path,
) -> None:
    from benchmarks.media import make
    from rewardkit.media.task import noun_of

    protocol = request.protocol(pipeline)
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
        shard=shard,
        on_medium=display.made,
    )


def _score(
    display: Display,
    request: Request,
    part: Part,
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
        overwrite=request.overwrite,
        on_check=display.done,
        on_progress=display.scored,
    )
    display.say(f"result: {path}")
    return path
