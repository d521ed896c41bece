"""From result files to boards: comparable results side by side, others on boards of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.criteria import averaging, values_of
from benchmarks.results import Result
from benchmarks.trained import spec_of
from leaderboards.board import Board, BoardEntry, Leaderboard, Ranks, Standings, UnusualSetting
from leaderboards.comparable import differences, labels, own_settings, settings, trained_metrics
from leaderboards.load import LoadedResult, load
from leaderboards.names import DistinctNames
from leaderboards.papers import by_score, with_published
from leaderboards.published import PublishedRow, published
from leaderboards.rank import Verdicts, standings
from rewardkit.errors import InputError, unknown
from rewardkit.media.task import TASKS, kind_of, noun_of
from rewardkit.records.differences import first_difference

_APART = "Its results differ from those of the benchmark's other board in {}: not comparable."


def leaderboard(
    paths: Sequence[Path], *, benchmarks: Sequence[str] = (), with_published: bool = False
) -> Leaderboard:
    """The boards of the results at and below `paths`.

    Args:
        paths: folders, searched whole, or result files.
        benchmarks: show only these; none means all.
        with_published: add published rows, to boards of their benchmark or on boards of their own.

    Raises:
        UsageError: there is no result of a benchmark that was named.
        InputError: there is no result, or one cannot be read.
    """
    loaded, notes = load(paths)
    rows = published() if with_published else ()
    if not loaded and not rows:
        raise InputError(
            f"there is no result of `rewardkit bench` below {', '.join(map(str, paths))}"
            + "".join(f". {note}" for note in notes)
        )
    known = {item.result.benchmark.name for item in loaded} | {row.benchmark for row in rows}
    for name in benchmarks:
        if name not in known:
            raise unknown("benchmark", name, known, "rewardkit bench list")
    chosen = set(benchmarks) or known
    shown = assemble(
        [item for item in loaded if item.result.benchmark.name in chosen],
        [row for row in rows if row.benchmark in chosen],
        notes,
    )
    folders = tuple(path if path.is_dir() else path.parent for path in paths)
    return replace(shown, folders=folders)


def assemble(
    loaded: Sequence[LoadedResult], rows: Sequence[PublishedRow] = (), notes: Sequence[str] = ()
) -> Leaderboard:
    """The boards of results and published rows.

    Args:
        loaded: results, one of each model, benchmark and protocol.
        rows: published rows.
        notes: what was left out before.
    """
    loaded = sorted(loaded, key=lambda item: (item.result.created, item.path.as_posix()))
    groups: dict[str, list[LoadedResult]] = {}
    for item in loaded:
        groups.setdefault(json.dumps(item.result.measure(), sort_keys=True), []).append(item)
    # The board with the most results is the main one of its benchmark.
    sizes = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    mains: dict[tuple[str, str], Result] = {}
    boards: list[Board] = []
    judged: dict[str, Verdicts] = {}
    distinct = DistinctNames()
    for _, group in sizes:
        first = group[0].result
        main = mains.setdefault((first.benchmark.name, first.benchmark.metric), first)
        board, verdicts = _board(group, _variant(main, first), distinct)
        boards.append(board)
        judged[board.id] = verdicts
    boards = with_published(boards, rows, distinct)
    boards.sort(
        key=lambda board: (TASKS.index(board.task), board.benchmark, board.metric, board.id)
    )
    return Leaderboard(tuple(boards), tuple(_standings(boards, judged)), tuple(notes))


def _board(
    group: Sequence[LoadedResult], variant: str | None, distinct: Callable[[str], str]
) -> tuple[Board, Verdicts]:
    """The board of results of one measure, and the verdicts on those that rank."""
    first = group[0].result
    info = first.benchmark
    criteria = info.own_criteria()
    made = [settings(item.result) for item in group]
    names = labels(
        [
            (item.result.model.name, {**of_protocol, **_model(item.result)})
            for item, of_protocol in zip(group, made, strict=True)
        ]
    )
    unranked = {name: _unranked(item) for name, item in zip(names, group, strict=True)}
    rows = {id: row for item in group for id, row in (item.rows or {}).items()}
    verdicts = Verdicts(
        {
            name: _values(item)
            for name, item in sorted(zip(names, group, strict=True), key=lambda pair: pair[0])
            if unranked[name] is None
        },
        values_of(criteria, list(rows.values()), 1.0).headline,
        {id: row.prompt for id, row in rows.items()},
    )
    ranks = verdicts.ranks([name for name in names if unranked[name] is None])
    marks = differences(made, [own_settings(item.result) for item in group])
    entries = [
        _entry(item, name, of_protocol, differs, ranks.get(name), unranked[name], distinct)
        for item, name, of_protocol, differs in zip(group, names, made, marks, strict=True)
    ]
    entries.sort(key=lambda entry: (entry.ranks is None, *by_score(entry)))
    board = Board(
        id=distinct("-".join(filter(None, (info.name, info.metric, variant)))),
        task=info.task,
        benchmark=info.name,
        version=info.version,
        metric=info.metric,
        unit=info.unit.replace("pictures", "images"),  # results keep the older word
        scale=info.scale,
        averaging=averaging(criteria, f"{kind_of(info.task)}s"),
        rewards=tuple(dict.fromkeys(criterion.reward for criterion in info.criteria)),
        tasks=tuple(first.tasks) if len(first.tasks) > 1 else (),
        metrics=tuple(name for name in first.metrics if name != info.metric),
        prompts=first.prompts.number,
        prompts_sha256=first.prompts.sha256,
        entries=tuple(entries),
        variant=variant,
        notes=() if variant is None else (_APART.format(variant),),
    )
    return board, verdicts


def _entry(
    item: LoadedResult,
    label: str,
    made: dict[str, str],
    differs: Sequence[UnusualSetting],
    ranks: Ranks | None,
    unranked: str | None,
    distinct: Callable[[str], str],
) -> BoardEntry:
    result = item.result
    metric = result.benchmark.metric
    spec = spec_of(result.model.trained_on)
    return BoardEntry(
        id=distinct(f"{result.benchmark.name}-{label}"),
        model=result.model.name,
        label=label,
        score=result.metrics[metric].headline,
        tasks=result.tasks if len(result.tasks) > 1 else {},
        metrics={name: of.headline for name, of in result.metrics.items() if name != metric},
        figures=result.figures,
        ranks=ranks,
        unranked=unranked,
        complete=result.complete,
        trained_on=spec,
        trained_metrics=trained_metrics(spec, result.metrics),
        protocol=made,
        differs=differs,
        result=result,
        path=item.path,
        media=Path(result.media.folder),
    )


def _unranked(item: LoadedResult) -> str | None:
    """Why a result has no rank."""
    result = item.result
    if result.shard is not None:
        return f"shard {result.shard}, to be merged"
    if not result.complete:
        nouns = f"{noun_of(result.benchmark.task)}s"
        return f"incomplete: {result.n_scored} of {result.n_expected} {nouns}"
    if item.doubt is not None:
        return item.doubt
    if item.rows is None:
        return f"its rows are not there: {result.rows}"
    if len(_values(item)) != result.metrics[result.benchmark.metric].headline.expected:
        return f"{result.rows} does not hold its rows"
    return None


def _values(item: LoadedResult) -> dict[str, float]:
    """What each row counts towards the headline, not scaled, by id."""
    rows = item.rows or {}
    found = values_of(item.result.benchmark.own_criteria(), list(rows.values()), 1.0)
    ids = {(row.stratum, row.index, row.sample): name for name, row in rows.items()}
    return {
        ids[row.stratum, row.index, row.sample]: value
        for row, value in zip(found.scored, found.values, strict=True)
    }


def _model(result: Result) -> dict[str, str]:
    """What else tells models of one name apart."""
    model = result.model
    known = {
        "source": model.source if model.alias is None else None,
        "alias": model.alias,
        "revision": model.revision,
        "LoRA": model.lora,
        "trained on": json.dumps(model.trained_on, sort_keys=True) if model.trained_on else None,
        "shard": result.shard,
    }
    return {name: value for name, value in known.items() if value is not None}


def _variant(main: Result, other: Result) -> str | None:
    """How the board of `other` differs from that of `main`, as text; None where it is the same."""
    different = first_difference(main.measure(), other.measure())
    if different is None:
        return None
    key = different.key.removeprefix("benchmark.")
    value = different.after.strip('"')
    digits = 12 if re.fullmatch(r"[0-9a-f]{64}", value) else 60
    return f"{key} {value[:digits]}"


def _standings(boards: Sequence[Board], judged: dict[str, Verdicts]) -> Iterable[Standings]:
    for task in TASKS:
        counted = {
            board.id: ([entry.label for entry in board.ranked], judged[board.id])
            for board in boards
            if board.task == task and board.variant is None and len(board.ranked) > 1
        }
        if len(counted) < 2:
            continue
        rows, absent = standings(counted)
        trained: dict[str, set[str]] = {}
        for board in boards:
            for entry in board.entries if board.id in counted else ():
                trained.setdefault(entry.label, set()).update(entry.trained_metrics)
        marked = tuple(
            replace(row, trained_metrics=tuple(sorted(trained[row.model]))) for row in rows
        )
        yield Standings(task, tuple(counted), marked, absent)
