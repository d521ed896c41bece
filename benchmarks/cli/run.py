"""`rewardkit bench run`, `generate` and `score`: from a model, or pictures, to a result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from benchmarks.cli.options import DEVICE, MODEL, PICTURES, PROMPTS, RESULTS, REWARDS, options
from rewardkit.cli.terminal import echo
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.benchmark import Benchmark, PromptSet, Suite
    from benchmarks.cli.progress import Display
    from benchmarks.shard import Shard
    from rewardkit.generators.pipelines import Pipeline

_PICTURES = "pictures"


class _Part(NamedTuple):
    """A benchmark that is run, with its prompts read."""

    benchmark: Benchmark
    prompts: PromptSet


@click.command()
@click.argument("benchmark")
@options(MODEL, PROMPTS, REWARDS, PICTURES, RESULTS, DEVICE)
@click.option("--with-base", is_flag=True, help="Run the base model of --lora too, and compare.")
def run(
    benchmark: str,
    model: str,
    lora: str | None,
    with_base: bool,
    name: str | None,
    prompts: str | None,
    rewards: str | None,
    samples: int | None,
    shard: str | None,
    out: Path,
    as_json: bool,
    device: str,
    **rest: Any,
) -> None:
    """Generate, score and sum up BENCHMARK for a model; run again, it continues where it stopped.

    Pictures go to DIR/pictures, the result is DIR/MODEL.BENCHMARK.json with its rows beside it.
    """
    from benchmarks.benchmark import Suite, get
    from benchmarks.cli.compare import print_comparison
    from benchmarks.cli.progress import Display
    from benchmarks.cli.tables import print_results
    from benchmarks.comparing import compare_results
    from benchmarks.runner import ready
    from rewardkit.weights.hub import parse_overrides

    if with_base and lora is None:
        raise UsageError("--with-base goes with --lora: without it, the base model is all there is")
    asked = get(benchmark)
    parts = _parts(asked, prompts, rewards, samples)
    part_of = _shard(shard, parts)
    with_base = with_base or (isinstance(asked, Suite) and lora is not None)
    titles = {lora: _title(model, lora) if name is None else name}
    if with_base:
        titles = {None: _title(model, None), **titles}
    if len(set(titles.values())) < len(titles):
        raise UsageError(f"{name} is what the base model is called: give another --name")
    ready(parts, parse_overrides(rest["weights"]))
    results: list[list[Path]] = []
    with Display() as display:
        for variant, title in titles.items():
            folders = _generate(display, parts, model, variant, title, out, part_of, device, rest)
            results.append(
                [
                    _score(display, part, folder, out, title, part_of, device, rest)
                    for part, folder in zip(parts, folders, strict=True)
                ]
            )
    print_results([path for paths in results for path in paths], as_json)
    if with_base and not as_json and shard is None:
        for base, tuned in zip(*results, strict=True):
            echo()
            print_comparison(compare_results(base, tuned))


@click.command()
@click.argument("benchmark")
@options(MODEL, PROMPTS, PICTURES, DEVICE)
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder of the pictures; several shards may share it.",
)  # fmt: skip
def generate(
    benchmark: str,
    model: str,
    lora: str | None,
    prompts: str | None,
    samples: int | None,
    shard: str | None,
    out: Path,
    device: str,
    **rest: Any,
) -> None:
    """Make the pictures of BENCHMARK, to be scored later, here or by other tools.

    An interrupted run continues where it stopped.
    """
    from benchmarks.benchmark import get
    from benchmarks.cli.progress import Display

    parts = _parts(get(benchmark), prompts, None, samples, scored=False)
    part_of = _shard(shard, parts)
    with Display() as display:
        pipeline = _load(model, lora, device, rest)
        for part in parts:
            folder = out if len(parts) == 1 else out / part.benchmark.pictures
            _make(display, part, pipeline, folder, part_of, rest)
            echo(str(folder))


@click.command()
@click.argument("benchmark")
@click.option(
    "--images", required=True, metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The pictures, as `bench show` says they lie.",
)  # fmt: skip
@options(PROMPTS, REWARDS, PICTURES, RESULTS, DEVICE)
@click.option(
    "--trained-on", metavar="SPEC",
    help="Rewards the model was trained on.  [default: as its pictures say]",
)  # fmt: skip
@click.option("--allow-duplicates", is_flag=True, help="Take one picture for several places.")
def score(
    benchmark: str,
    images: Path,
    name: str | None,
    prompts: str | None,
    rewards: str | None,
    samples: int | None,
    shard: str | None,
    out: Path,
    as_json: bool,
    device: str,
    trained_on: str | None,
    allow_duplicates: bool,
    **rest: Any,
) -> None:
    """Score the pictures of BENCHMARK that are in a folder, made here or elsewhere."""
    from benchmarks.benchmark import Benchmark, get
    from benchmarks.cli.progress import Display
    from benchmarks.cli.tables import print_results
    from benchmarks.pictures import making
    from rewardkit.engine.registry import resolve
    from rewardkit.engine.spec import parse

    asked = get(benchmark)
    if not isinstance(asked, Benchmark):
        told = ", ".join(one.name for one in asked.parts())
        raise UsageError(f"{benchmark} is several benchmarks, {told}: score each by itself")
    made = making(images)
    if made is not None:
        samples = samples or made.samples
        name = name or _title(made.model.alias or made.model.source, made.lora)
    (part,) = _parts(asked, prompts, rewards, samples)
    if name is None:
        raise UsageError(f"nothing in {images} says what made its pictures: give --name")
    trained = None if trained_on is None else {"reward": str(parse(trained_on, resolve))}
    with Display() as display:
        path = _score(
            display, part, images, out, name, _shard(shard, [part]), device,
            {**rest, "trained_on": trained, "allow_duplicates": allow_duplicates},
        )  # fmt: skip
    print_results([path], as_json)


def _parts(
    asked: Benchmark | Suite,
    prompts: str | None,
    rewards: str | None,
    samples: int | None,
    scored: bool = True,
) -> list[_Part]:
    """The benchmarks that are asked for; whether they will be scored decides what they need."""
    from benchmarks.benchmark import Benchmark

    if not isinstance(asked, Benchmark):
        if prompts is not None or rewards is not None or samples is not None:
            raise UsageError(f"{asked.name} has its own prompts, rewards and samples")
        return [_Part(one, one.prompts()) for one in asked.parts() if one.prompts]
    one = asked.on(prompts).with_samples(samples)
    one = one.by(rewards) if scored else one
    assert one.prompts is not None
    return [_Part(one, one.prompts())]


def _shard(text: str | None, parts: Sequence[_Part]) -> Shard:
    """The shard that is asked for, of which every part has a share."""
    from benchmarks.shard import WHOLE, Shard

    shard = WHOLE if text is None else Shard.parse(text)
    for part in parts:
        shard.of(part.prompts.cases)
    return shard


def _title(model: str, lora: str | None) -> str:
    """What tables call a model: its name, and that of what was trained of it."""
    source = model if not Path(model).exists() else Path(model).resolve().name
    if lora is None:
        return source
    run = Path(lora).resolve()
    while run.name == "model" or run.suffix == ".safetensors":
        run = run.parent
    return f"{source}+{run.name}"


def _load(model: str, lora: str | None, device: str, rest: dict[str, Any]) -> Pipeline:
    from rewardkit.generators.pipelines import load

    return load(model, device=device, dtype=rest["dtype"], revision=rest["revision"], lora=lora)


def _generate(
    display: Display,
    parts: Sequence[_Part],
    model: str,
    lora: str | None,
    title: str,
    out: Path,
    shard: Shard,
    device: str,
    rest: dict[str, Any],
) -> list[Path]:
    """The folders of the pictures of all parts; afterwards the model is let go."""
    from benchmarks.results import file_name

    pipeline = _load(model, lora, device, rest)
    folders = [out / _PICTURES / file_name(part.benchmark.pictures, title) for part in parts]
    for part, folder in zip(parts, folders, strict=True):
        _make(display, part, pipeline, folder, shard, rest)
    return folders


def _make(
    display: Display,
    part: _Part,
    pipeline: Pipeline,
    folder: Path,
    shard: Shard,
    rest: dict[str, Any],
) -> None:
    from benchmarks.pictures import make

    names = ("steps", "guidance", "width", "height", "max_sequence_length")
    given = {name: rest[name] for name in names if rest[name] is not None}
    protocol = pipeline.protocol.changed(given)
    samples = part.benchmark.samples
    batch = min(rest["batch_size"] or samples, samples)
    display.phase(f"{part.benchmark.name}: pictures", protocol.steps, batch)
    make(
        part.benchmark,
        part.prompts,
        pipeline,
        folder,
        seed=rest["seed"],
        protocol=protocol,
        batch_size=batch,
        shard=shard,
        on_picture=display.made,
    )


def _score(
    display: Display,
    part: _Part,
    folder: Path,
    out: Path,
    title: str,
    shard: Shard,
    device: str,
    rest: dict[str, Any],
) -> Path:
    from benchmarks.runner import score as score_pictures
    from rewardkit.weights.hub import parse_overrides

    display.phase(f"{part.benchmark.name}: scores")
    path = score_pictures(
        part.benchmark,
        part.prompts,
        folder,
        out,
        name=title,
        trained_on=rest.get("trained_on"),
        shard=shard,
        allow_partial=rest["allow_partial"],
        allow_duplicates=rest.get("allow_duplicates", False),
        device=device,
        weights=parse_overrides(rest["weights"]),
        overwrite=rest["overwrite"],
        on_check=display.done,
        on_progress=display.scored,
    )
    display.say(f"result: {path}")
    return path
