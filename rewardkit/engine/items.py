"""Score items that are found: decode, prepare, batch, score, write down; overlapped and resumable.

Batches are cut from the whole list of items at fixed places, so a run that was killed and started
again forms the same batches, and its result is that of an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rewardkit.engine.batches import Outcome
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import describe_steps
from rewardkit.engine.reading import Reader, Work, check_needs
from rewardkit.engine.registry import entry
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec
from rewardkit.errors import RewardKitError, describe
from rewardkit.media.sources import Item
from rewardkit.processes import ALONE, Processes
from rewardkit.records.provenance import now, sha256_file, versions
from rewardkit.records.rows import Row, Table, storable, to_arrow
from rewardkit.records.scorefile import ScoreFile

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Progress:
    """Where a run stands: items done (of them failed) of the total."""

    done: int
    failed: int
    total: int


@dataclass(frozen=True, repr=False)
class Report:
    """What a run found.

    Attributes:
        rows: one per item, in the items' order.
        rewards: the columns, resolved reward names.
        spec: the rewards, with resolved names.
        reused: rows taken from an earlier run's file.
        made_by: what decides the numbers: spec, and per reward checksums, preprocessing, dtype.
        weights: every file of weights that was loaded, by name: source, revision, sha256.
        device: that computed.
    """

    rows: list[Row]
    rewards: tuple[str, ...]
    spec: RewardSpec
    reused: int
    made_by: Mapping[str, Any]
    weights: Mapping[str, Any]
    device: str

    @property
    def failed(self) -> int:
        """Rows with an error."""
        return sum(row.error is not None for row in self.rows)

    def table(self) -> pa.Table:
        """The rows as the table that `output` holds."""
        return to_arrow(self.rows, self.rewards, self.spec.has_total)

    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame, as `rewardkit.read_scores` reads `output`."""
        return Table(tuple(self.rows), self.rewards, self.spec.has_total).to_pandas()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        means = []
        for name in self.rewards:
            known = [s for row in self.rows if (s := row.scores[name]) is not None]
            means.append(f"{name} mean {fmean(known):.6g}" if known else f"{name} without a score")
        return f"<Report of {len(self)} rows, {self.failed} failed: {', '.join(means)}>"


def score_items(
    items: Sequence[Item],
    spec: RewardSpec,
    *,
    reader: Reader,
    loader: Callable[[], Loader],
    output: str | PathLike[str] | None = None,
    overwrite: bool = False,
    batch_size: int = 32,
    workers: int | None = None,
    about: Mapping[str, Any] | None = None,
    processes: Processes = ALONE,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """The half of `score_folder` that comes after it has found its items; see there.

    Args:
        items: what to score, with prompts, meta and references.
        spec: by what, of `check_request`.
        reader: opens them.
        loader: of weights; called once the items have what the rewards need.
        output: as for `score_folder`, like the arguments after it.
        overwrite: see there.
        batch_size: see there.
        workers: see there.
        about: what else the provenance beside `output` is to say.
        processes: see there. Each scores whole batches, cut at the same places as in one process,
            and all of them return the same report.
        on_progress: see there.
    """
    # Ids and prompts as a table can store them: names that are not UTF-8 come escaped.
    items = [
        replace(item, id=storable(item.id), prompt=item.prompt and storable(item.prompt))
        for item in items
    ]

    def start() -> tuple[Loader, Scorer, ScoreFile]:
        check_needs([entry(name).card for name in spec.names], items)
        loaded = loader()
        scorer = Scorer.load(spec, loaded)
        file = ScoreFile.open(
            output,
            _made_by(scorer, loaded, reader),
            spec.names,
            with_total=spec.has_total,
            overwrite=overwrite,
            writer=processes.rank,
        )
        try:
            file.reconcile(
                {item.id: item.prompt for item in items},
                {item.id: reader.paths(item) for item in items},
            )
        except BaseException:
            file.close()
            raise
        return loaded, scorer, file

    loaded, scorer, file = processes.in_order(start)
    with file:
        kept = len(file.rows)
        on_progress(Progress(0, 0, len(items)))
        works = [
            Work(reader, item)
            if processes.owns(index // batch_size) and not _is_done(file.rows.get(item.id))
            else None
            for index, item in enumerate(items)
        ]
        _score(file, scorer, works, batch_size, workers, loaded.ahead, on_progress)
        if not processes.first:
            file.close()

        def finish() -> Report:
            if not processes.alone:
                file.gather([item.id for item in items])
            rows = [file.rows[item.id] for item in items]
            located = {name: w.model_dump(mode="json") for name, w in loaded.located.items()}
            # One process has its GPU by number; together they have all of them.
            device = str(loaded.device) if processes.alone else loaded.device.type
            report = Report(rows, spec.names, spec, kept, file.made_by, located, device)
            file.finish(
                [item.id for item in items],
                {
                    **(about or {}),
                    "n_expected": len(items),
                    "n_scored": len(items) - report.failed,
                    "device": device,
                    "weights": located,
                    "versions": versions(),
                    "finished": now(),
                },
            )
            return report

        return processes.share(finish)


def _score(
    file: ScoreFile,
    scorer: Scorer,
    works: Sequence[Work | None],
    batch_size: int,
    workers: int | None,
    ahead: int,
    on_progress: Callable[[Progress], None],
) -> None:
    """Scores the items that have work, and commits their rows batch by batch."""
    done = failed = 0
    samples = [work.sample() if work else None for work in works]
    for scored in scorer.stream(samples, batch_size=batch_size, workers=workers, ahead=ahead):
        here = [
            (work, outcome)
            for work, outcome in zip(works[done : done + len(scored)], scored, strict=True)
            if work is not None and outcome is not None
        ]
        file.add((work.seen, _row(scorer, work.item, outcome)) for work, outcome in here)
        failed += sum(bool(outcome.errors) for _, outcome in here)
        done += len(scored)
        on_progress(Progress(done, failed, len(works)))


def _made_by(scorer: Scorer, loader: Loader, reader: Reader) -> dict[str, Any]:
    """What decides the numbers: an output made by anything else is not continued."""
    rewards: dict[str, Any] = {}
    for name, reward in scorer.rewards.items():
        card, file = reward.card, entry(name).file
        parts: dict[str, Any] = {
            f"sha256 of {weights.name}": loader.located[weights.name].sha256
            for weights in card.all_weights
        }
        steps = card.encoder.preprocess if card.encoder else card.preprocess
        if steps:
            parts["preprocess"] = describe_steps(steps)
            parts["dtype"] = str(loader.dtype).removeprefix("torch.")
        parts |= reward.provenance()
        if file is not None:
            parts["sha256"] = sha256_file(file)
        rewards[name] = parts
    return {"spec": str(scorer.spec), "rewards": rewards, "sampling": reader.sampling}


def _is_done(row: Row | None) -> bool:
    return row is not None and row.error is None


def _row(scorer: Scorer, item: Item, outcome: Outcome) -> Row:
    # One cause of several rewards is reported once; a foreign one needs the reward's name.
    errors = [
        describe(e) if isinstance(e, RewardKitError) else f"{name}: {describe(e)}"
        for name, e in outcome.errors.items()
    ]
    return Row(
        id=item.id,
        path=storable(item.path),
        prompt=item.prompt,
        scores=outcome.scores,
        total=scorer.spec.total(outcome.scores),
        error="; ".join(dict.fromkeys(errors)) or None,
    )
