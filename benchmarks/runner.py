"""Scoring the pictures or clips of a benchmark: check, score, sum up, write down.

A run that was killed continues where it stopped: rows are journaled beside the result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.benchmark import Benchmark
from benchmarks.cards import Making
from benchmarks.criteria import applies, with_reward
from benchmarks.media import check
from benchmarks.prompts import Case, PromptSet
from benchmarks.results import MediaInfo, ModelInfo, ProtocolInfo, file_name
from benchmarks.scoring import score_cases
from benchmarks.shard import WHOLE, Shard
from benchmarks.summary import sum_up
from rewardkit.errors import InputError, UsageError
from rewardkit.media.sources import Item
from rewardkit.media.task import kind_of, noun_of
from rewardkit.processes import ALONE, Processes
from rewardkit.records.provenance import versions
from rewardkit.records.storage import write_json

if TYPE_CHECKING:
    from rewardkit.engine.items import Progress
    from rewardkit.service import Endpoint


def ready(
    parts: Sequence[tuple[Benchmark, PromptSet]],
    weights: Mapping[str, Path],
    endpoint: Endpoint | None = None,
) -> None:
    """Finds what scoring will need, weights too, before hours are spent on making media.

    Args:
        parts: benchmarks that are about to be run, with their prompts.
        weights: local files by name.
        endpoint: see `rewardkit.create`.

    Raises:
        UsageError: a reward does not take the medium, or needs a key that the prompts' lines lack,
            or an endpoint that is not given, or a local file belongs to no reward.
        WeightsError: weights cannot be had.
    """
    from rewardkit.engine.folder import check_request
    from rewardkit.engine.loader import check_endpoint, check_overrides
    from rewardkit.engine.registry import entry
    from rewardkit.weights.hub import locate

    cards = []
    for benchmark, prompts in parts:
        assert benchmark.rewards is not None
        names = check_request(benchmark.rewards, None, 1, None).names
        criteria = with_reward(benchmark.criteria, names[0])
        for name in names:
            card = entry(name).card
            cards.append(card)
            noun = noun_of(benchmark.task)
            if kind_of(benchmark.task) not in card.inputs:
                raise UsageError(f"{name} takes no {noun}s, and {benchmark.name} makes {noun}s")
            own = [case for case in prompts.cases if applies(name, case.tags, criteria)]
            lacking_of = {key: [c for c in own if key not in c.meta] for key in card.needs_meta}
            for key in card.needs_references:
                lacking_of[key] = [case for case in own if key not in case.references]
            for key, lacking in lacking_of.items():
                if lacking:
                    raise UsageError(
                        f"{name} needs the key {key!r} of each prompt's line, and "
                        f"{len(lacking)} of {len(own)} in {prompts.source} have none"
                    )
    check_overrides(weights, cards)
    check_endpoint(cards, endpoint)
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
    endpoint: Endpoint | None = None,
    batch_size: int = 32,
    overwrite: bool = False,
    processes: Processes = ALONE,
    on_check: Callable[[int, int], None] = lambda done, total: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Scores the pictures or clips in `folder`; the path of the result.

    Args:
        benchmark: the benchmark.
        prompts: its prompts.
        folder: the pictures or clips, named as the benchmark's layout says.
        out: the folder of results.
        name: the name of the model in tables.
        trained_on: what the model was trained on, where the card of `folder` does not say.
        shard: which prompts.
        allow_partial: score what is there, and mark the result as incomplete.
        allow_duplicates: see `benchmarks.media.check`.
        device: the device of the rewards.
        dtype: the data type of their networks.
        weights: local files by name.
        endpoint: see `rewardkit.create`.
        batch_size: how many are scored at once.
        overwrite: score everything again.
        processes: the processes of which each makes this call and scores a share.
        on_check: called with (done, total) while files are opened.
        on_progress: called while they are scored.

    Raises:
        UsageError: the request cannot be met.
        InputError: the files are not what they should be, or some could not be scored.
        WeightsError: weights cannot be had.
    """
    from rewardkit.engine.folder import check_request
    from rewardkit.engine.loader import Loader, check_endpoint
    from rewardkit.engine.registry import entry

    assert benchmark.rewards is not None
    stem = file_name(benchmark.name, name, None if shard == WHOLE else str(shard))
    rows = out / f"{stem}.parquet"
    spec = check_request(benchmark.rewards, rows, batch_size, None)
    check_endpoint([entry(own).card for own in spec.names], endpoint)
    checked = processes.share(
        lambda: check(
            benchmark,
            prompts,
            folder,
            shard=shard,
            allow_partial=allow_partial,
            allow_duplicates=allow_duplicates,
            on_file=on_check,
        )
    )
    needed = {key for own in spec.names for key in entry(own).card.needs_references}
    items = [
        (case, _item(case, sample, path, out, needed))
        for case in shard.of(prompts.cases)
        for sample in range(benchmark.samples)
        if (path := checked.paths.get((case.index, sample))) is not None
    ]
    scores = score_cases(
        benchmark,
        spec,
        items,
        rows,
        loader=lambda: Loader(processes.device(device), dtype, weights, endpoint=endpoint),
        overwrite=overwrite,
        batch_size=batch_size,
        about={"media": relpath(folder, out)},
        processes=processes,
        on_progress=on_progress,
    )
    path = out / f"{stem}.json"
    if not processes.first:
        return path
    if scores.failed and not allow_partial:
        first = scores.failed[0]
        raise InputError(
            f"{len(scores.failed)} of {len(items)} {noun_of(benchmark.task)}s could not be scored; "
            f"first {first.id}: {first.error}. The same command tries them again; --allow-partial "
            "reports the rest, marked as incomplete"
        )
    result = sum_up(
        benchmark,
        prompts,
        scores.table,
        rows=rows.name,
        model=_model(name, checked.made, trained_on),
        protocol=_protocol(benchmark.samples, checked.made),
        media=MediaInfo(
            folder=Path(relpath(folder, out)).as_posix(),
            made_here=checked.made is not None,
            sha256=checked.sha256,
        ),
        shard=None if shard == WHOLE else str(shard),
        rewards=dict(scores.rewards),
        weights=dict(scores.weights),
        versions=versions(),
        device=scores.device,
    )
    write_json(path, result.model_dump(mode="json"))
    return path


def _item(case: Case, sample: int, path: Path, out: Path, needed: Collection[str]) -> Item:
    references = {k: relpath(file, out) for k, file in case.references.items() if k in needed}
    return Item(case.id(sample), relpath(path, out), case.prompt, case.meta, references=references)


def _model(name: str, made: Making | None, trained_on: Mapping[str, Any] | None) -> ModelInfo:
    trained = None if trained_on is None else dict(trained_on)
    if made is None:
        return ModelInfo(name=name, trained_on=trained)
    return ModelInfo(
        name=name,
        source=made.model.source,
        alias=made.model.alias,
        revision=made.model.revision,
        lora=made.lora,
        trained_on=trained or made.trained_on,
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
