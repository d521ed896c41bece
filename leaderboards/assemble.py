"""From result files to boards: what is comparable side by side, what is not apart and marked."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.results import Result, Score
from leaderboards.board import Board, Entry, Leaderboard, Modality, Ranks, Standings
from leaderboards.comparable import (
    differences,
    labels,
    measure,
    own_settings,
    settings,
    trained_metrics,
)
from leaderboards.load import Loaded, load
from leaderboards.published import Published, published
from leaderboards.rank import Verdicts, standings
from rewardkit.errors import InputError, unknown
from rewardkit.records.differences import first_difference

_MODALITIES: dict[str, Modality] = {
    "text-to-image": "image",
    "text-to-video": "T2V",
    "image-to-video": "I2V",
}
_APART = "Its results differ from those of the benchmark's other board in {}: not comparable."
_ORDER: tuple[Modality, ...] = ("image", "T2V", "I2V")


def leaderboard(
    paths: Sequence[Path], *, benchmarks: Sequence[str] = (), with_published: bool = False
) -> Leaderboard:
    """The boards of the results at and below `paths`.

    Args:
        paths: folders, searched whole, or result files.
        benchmarks: only these; none means all.
        with_published: add published rows, to boards of their benchmark or as boards of their own.

    Raises:
        UsageError: nothing is of a benchmark that is asked for.
        InputError: there is no result, or one cannot be read.
    """
    loaded, notes = load(paths)
    rows = published() if with_published else ()
    if not loaded and not rows:
        raise InputError(
            f"there is no result of `rewardkit bench` below {', '.join(map(str, paths))}"
            + "".join(f". {note}" for note in notes)
        )
    known = {one.result.benchmark.name for one in loaded} | {row.benchmark for row in rows}
    for name in benchmarks:
        if name not in known:
            raise unknown("benchmark", name, known, "rewardkit bench list")
    asked = set(benchmarks) or known
    shown = assemble(
        [one for one in loaded if one.result.benchmark.name in asked],
        [row for row in rows if row.benchmark in asked],
        notes,
    )
    return replace(shown, folders=tuple(one if one.is_dir() else one.parent for one in paths))


def assemble(
    loaded: Sequence[Loaded], rows: Sequence[Published] = (), notes: Sequence[str] = ()
) -> Leaderboard:
    """The boards of results and published rows.

    Args:
        loaded: results, of one model, benchmark and protocol each.
        rows: published ones.
        notes: what was left out before.
    """
    loaded = sorted(loaded, key=lambda one: (one.result.created, one.path.as_posix()))
    groups: dict[str, list[Loaded]] = {}
    for one in loaded:
        groups.setdefault(json.dumps(measure(one.result), sort_keys=True), []).append(one)
    # The board that most results are on is the main one of its benchmark.
    sizes = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    mains: dict[tuple[str, str], Result] = {}
    boards: list[Board] = []
    judged: dict[str, Verdicts] = {}
    distinct = _Distinct()
    for _, group in sizes:
        first = group[0].result
        main = mains.setdefault((first.benchmark.name, first.benchmark.metric), first)
        board, verdicts = _board(group, _variant(main, first), distinct)
        boards.append(board)
        judged[board.id] = verdicts
    boards = _with_published(boards, rows, distinct)
    boards.sort(key=lambda one: (_ORDER.index(one.modality), one.benchmark, one.metric, one.id))
    return Leaderboard(tuple(boards), tuple(_standings(boards, judged)), tuple(notes))


def _board(
    group: Sequence[Loaded], variant: str | None, distinct: Callable[[str], str]
) -> tuple[Board, Verdicts]:
    """The board of results of one measure, and the verdicts on those that rank."""
    first = group[0].result
    info = first.benchmark
    made = [settings(one.result) for one in group]
    names = labels(
        [
            (one.result.model.name, {**told, **_model(one.result)})
            for one, told in zip(group, made, strict=True)
        ]
    )
    unranked = {name: _unranked(one) for name, one in zip(names, group, strict=True)}
    verdicts = Verdicts(
        {
            name: _scores(one, info.metric)
            for name, one in sorted(zip(names, group, strict=True), key=lambda pair: pair[0])
            if unranked[name] is None
        },
        info.headline,
        {id: prompt for one in group for id, prompt in one.cluster.items()},
    )
    ranks = verdicts.ranks([name for name in names if unranked[name] is None])
    marks = differences(made, [own_settings(one.result) for one in group])
    entries = [
        _entry(one, name, told, differs, ranks.get(name), unranked[name], distinct)
        for one, name, told, differs in zip(group, names, made, marks, strict=True)
    ]
    entries.sort(key=lambda one: (one.ranks is None, *_by_score(one)))
    board = Board(
        id=distinct("-".join(filter(None, (info.name, info.metric, variant)))),
        modality=_MODALITIES[info.task],
        benchmark=info.name,
        version=info.version,
        metric=info.metric,
        unit=info.unit,
        scale=info.scale,
        headline=info.headline,
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
    one: Loaded,
    label: str,
    made: dict[str, str],
    differs: Any,
    ranks: Ranks | None,
    unranked: str | None,
    distinct: Callable[[str], str],
) -> Entry:
    result = one.result
    metric = result.benchmark.metric
    trained = result.model.trained_on
    spec = None if trained is None else str(trained.get("reward", json.dumps(trained)))
    return Entry(
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
        path=one.path,
        pictures=Path(result.pictures.folder),
    )


def _unranked(one: Loaded) -> str | None:
    """Why a result has no rank."""
    result = one.result
    if result.shard is not None:
        return f"shard {result.shard}, to be merged"
    if not result.complete:
        return f"incomplete: {result.n_scored} of {result.n_expected} pictures"
    if one.doubt is not None:
        return one.doubt
    if one.scores is None:
        return f"its rows are not there: {result.rows}"
    if len(_scores(one, result.benchmark.metric)) != result.n_expected:
        return f"{result.rows} does not hold its rows"
    return None


def _scores(one: Loaded, metric: str) -> dict[str, float]:
    found = ((id, scores.get(metric)) for id, scores in (one.scores or {}).items())
    return {id: value for id, value in found if value is not None}


def _model(result: Result) -> dict[str, str]:
    """What else tells namesakes apart."""
    model = result.model
    told = {
        "source": model.source if model.alias is None else None,
        "alias": model.alias,
        "revision": model.revision,
        "LoRA": model.lora,
        "trained on": json.dumps(model.trained_on, sort_keys=True) if model.trained_on else None,
        "shard": result.shard,
    }
    return {name: value for name, value in told.items() if value is not None}


def _variant(main: Result, other: Result) -> str | None:
    """What makes the board of `other` another than that of `main`, as text."""
    different = first_difference(measure(main), measure(other))
    if different is None:
        return None
    key = different.key.removeprefix("benchmark.")
    value = different.after.strip('"')
    digits = 12 if re.fullmatch(r"[0-9a-f]{64}", value) else 60
    return f"{key} {value[:digits]}"


def _with_published(
    boards: Sequence[Board], rows: Sequence[Published], distinct: Callable[[str], str]
) -> list[Board]:
    """The boards with the rows of their benchmark and metric, and boards of the other rows."""
    groups: dict[tuple[Modality, str, str], list[Published]] = {}
    for row in rows:
        groups.setdefault((row.modality, row.benchmark, row.metric), []).append(row)
    found = []
    for board in boards:
        # The main board of a benchmark comes before its variants, which so get none.
        group = groups.pop((board.modality, board.benchmark, board.metric), [])
        entries = _published(group, (board.metric, *board.metrics), distinct)
        found.append(replace(board, published=entries))
    for (modality, benchmark, metric), group in groups.items():
        found.append(
            Board(
                id=distinct(f"{benchmark}-{metric}"),
                modality=modality,
                benchmark=benchmark,
                version="",
                metric=metric,
                unit=group[0].unit,
                scale=1.0,
                headline="items",
                tasks=tuple(dict.fromkeys(task for row in group for task in row.tasks)),
                metrics=(),
                prompts=0,
                prompts_sha256="",
                entries=(),
                published=_published(group, (metric,), distinct),
            )
        )
    return found


def _published(
    rows: Sequence[Published], metrics: Iterable[str], distinct: Callable[[str], str]
) -> tuple[Entry, ...]:
    known = tuple(metrics)
    found = []
    for row in rows:
        told = {
            "size": row.resolution,
            "steps": row.steps,
            "guidance": row.guidance,
            "weights": row.weights,
            "evaluator": row.evaluator,
            "prompts rewritten": None if row.rewriter is None else "yes" if row.rewriter else "no",
        }
        found.append(
            Entry(
                id=distinct(f"published-{row.benchmark}-{row.model}"),
                model=row.model,
                label=row.model,
                score=_told(float(row.score)),
                tasks={task: _told(float(value)) for task, value in row.tasks.items()},
                unranked="published",
                trained_on=row.trained_on,
                trained_metrics=trained_metrics(row.trained_on, known),
                protocol={name: str(value) for name, value in told.items() if value is not None},
                published=row,
            )
        )
    return tuple(sorted(found, key=_by_score))


def _told(value: float) -> Score:
    return Score(score=value, interval=None, n=0, expected=0)


def _by_score(entry: Entry) -> tuple[bool, float, str]:
    score = entry.score.score
    return score is None, -(score or 0.0), entry.label


def _standings(boards: Sequence[Board], judged: dict[str, Verdicts]) -> Iterable[Standings]:
    for modality in _ORDER:
        counted = {
            board.id: ([one.label for one in board.ranked], judged[board.id])
            for board in boards
            if board.modality == modality and board.variant is None and len(board.ranked) > 1
        }
        if len(counted) < 2:
            continue
        rows, absent = standings(counted)
        trained: dict[str, set[str]] = {}
        for board in boards:
            for one in board.entries if board.id in counted else ():
                trained.setdefault(one.label, set()).update(one.trained_metrics)
        marked = tuple(
            replace(row, trained_metrics=tuple(sorted(trained[row.model]))) for row in rows
        )
        yield Standings(modality, tuple(counted), marked, absent)


class _Distinct:
    """Gives each name an id that no other has: of letters, digits, `.`, `_` and `-`."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, name: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "unnamed"
        found, number = stem, 2
        while found.casefold() in self._given:
            found, number = f"{stem}-{number}", number + 1
        self._given.add(found.casefold())
        return found
