"""Every reward of a benchmark on the pictures or clips it is for, as one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from benchmarks.benchmark import Benchmark
from benchmarks.criteria import applies, with_reward
from benchmarks.prompts import Case
from rewardkit.media.sources import Item
from rewardkit.media.task import kind_of
from rewardkit.processes import Processes
from rewardkit.records.rows import Row, Table, write_rows

if TYPE_CHECKING:
    from rewardkit.engine.items import Progress, Report
    from rewardkit.engine.loader import Loader
    from rewardkit.engine.spec import RewardSpec


@final
@dataclass(frozen=True)
class Scores:
    """The rows of a benchmark, and what made them.

    Attributes:
        table: a row per picture or clip; None stands where a reward is not for it, or failed.
        failed: rows with an error.
        rewards: checksums of weights, preprocessing and dtype, by reward.
        weights: source, revision and checksum of every file that was loaded, by name.
        device: the device that computed them.
    """

    table: Table
    failed: Sequence[Row]
    rewards: Mapping[str, Any]
    weights: Mapping[str, Any]
    device: str


def score_cases(
    benchmark: Benchmark,
    spec: RewardSpec,
    items: Sequence[tuple[Case, Item]],
    output: Path,
    *,
    loader: Callable[[], Loader],
    overwrite: bool,
    batch_size: int,
    about: Mapping[str, Any],
    processes: Processes,
    on_progress: Callable[[Progress], None],
) -> Scores:
    """Scores items, each by the rewards that are for its case.

    Rewards that are for the same cases are scored together. Where there are several such groups,
    each has a table of its own beside `output`, from which an interrupted run continues.

    Args:
        benchmark: its task and criteria.
        spec: its rewards, resolved.
        items: each with its case; paths are relative to the folder of `output`.
        output: the table.
        loader: loads weights; called once for each group.
        overwrite: score everything again.
        batch_size: how many are scored at once.
        about: what else the provenance beside the table says.
        processes: the processes that share the work; see `rewardkit.engine.folder`.
        on_progress: called after every batch.
    """
    from rewardkit.engine.items import score_items
    from rewardkit.engine.reading import Reader

    groups = _groups(benchmark, spec, items)
    together = [part for part, _ in groups] == [spec]
    reports: list[Report] = []
    for part, own in groups:
        table = output if together else _beside(output, part)
        report = score_items(
            own,
            part,
            reader=Reader(kind_of(benchmark.task), root=output.parent),
            loader=loader,
            output=table,
            overwrite=overwrite,
            batch_size=batch_size,
            about=about,
            processes=processes,
            on_progress=on_progress,
        )
        reports.append(report)
    with_total = spec.has_total and together
    rows = reports[0].rows if together else _joined(spec, items, reports)
    if not together and processes.first:
        write_rows(output, rows, spec.names, with_total)
    return Scores(
        table=Table(tuple(rows), spec.names, with_total),
        failed=[row for row in rows if row.error is not None],
        rewards={name: made for report in reports for name, made in _rewards(report).items()},
        weights={name: made for report in reports for name, made in report.weights.items()},
        device=reports[0].device,
    )


def _groups(
    benchmark: Benchmark, spec: RewardSpec, items: Sequence[tuple[Case, Item]]
) -> list[tuple[RewardSpec, list[Item]]]:
    """The rewards that are for the same items, as specs, each with its items."""
    criteria = with_reward(benchmark.criteria, spec.names[0])
    names: dict[tuple[int, ...], list[str]] = {}
    for name in spec.names:
        own = [i for i, (case, _) in enumerate(items) if applies(name, case.tags, criteria)]
        names.setdefault(tuple(own), []).append(name)
    if len(names) == 1:
        return [(spec, [item for _, item in items])]
    return [
        (
            type(spec)(tuple(term for term in spec.terms if term.name in group)),
            [items[i][1] for i in own],
        )
        for own, group in names.items()
        if own
    ]


def _beside(output: Path, spec: RewardSpec) -> Path:
    return output.with_name(f"{output.stem}.{'+'.join(spec.names)}{output.suffix}")


def _joined(
    spec: RewardSpec, items: Sequence[tuple[Case, Item]], reports: Sequence[Report]
) -> list[Row]:
    """One row for each item, of the rows of several tables."""
    by_id: dict[str, list[Row]] = {}
    for report in reports:
        for row in report.rows:
            by_id.setdefault(row.id, []).append(row)
    joined = []
    for _, item in items:
        rows = by_id.get(item.id, [])
        scores = {name: score for row in rows for name, score in row.scores.items()}
        errors = dict.fromkeys(row.error for row in rows if row.error is not None)
        joined.append(
            Row(
                id=item.id,
                path=item.path,
                prompt=item.prompt,
                scores={name: scores.get(name) for name in spec.names},
                total=None,
                error="; ".join(errors) or None,
            )
        )
    return joined


def _rewards(report: Report) -> Mapping[str, Any]:
    made: Mapping[str, Any] = report.made_by["rewards"]
    return made
