"""Rewards on a preference set: read, score, sum up, write down.

A run that was killed continues where it stopped: rows are journaled beside the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.preferences.question import PreferenceSet
from benchmarks.preferences.results import PreferenceResult, SetInfo
from benchmarks.preferences.sets import annotations_of, preference_set
from benchmarks.preferences.summary import Scores, measure_agreement, measure_changes
from rewardkit.errors import InputError, UsageError
from rewardkit.media.sources import Item
from rewardkit.records.provenance import now, versions
from rewardkit.records.storage import write_json

if TYPE_CHECKING:
    from rewardkit.engine.items import Progress, Report
    from rewardkit.service import Endpoint

# The result names at most this many failures.
_SHOWN = 10


def measure(
    source: str,
    rewards: str,
    out: Path,
    *,
    media: Path | None = None,
    allow_partial: bool = False,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, Path] | None = None,
    endpoint: Endpoint | None = None,
    batch_size: int = 32,
    overwrite: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Path, PreferenceResult]:
    """How rewards agree with people on a set: the file of the result, and what it says.

    Args:
        source: a named set, or a manifest.
        rewards: a spec. The others are compared with its first.
        out: the folder of results; pictures that have to be unpacked go below it.
        media: the folder of the pictures or clips of a named set.
        allow_partial: take what is there, and mark the result.
        device: of the rewards.
        dtype: of their networks.
        weights: local files by name, of rewards and of annotations.
        endpoint: see `rewardkit.create`.
        batch_size: how many are scored at once.
        overwrite: score everything again.
        on_progress: called while they are scored.

    Raises:
        UsageError: the request cannot be met.
        InputError: the set is not what it should be, or files are missing or cannot be scored.
        WeightsError: weights or annotations cannot be had.
    """
    from rewardkit.engine.folder import check_request
    from rewardkit.engine.items import score_items
    from rewardkit.engine.loader import Loader, check_endpoint, check_overrides
    from rewardkit.engine.reading import Reader
    from rewardkit.engine.registry import entry

    files = dict(weights or {})
    annotated = annotations_of(source)
    annotations = None if annotated is None else files.pop(annotated.name, None)
    wanted = preference_set(source, media, annotations)
    spec = check_request(rewards, None, batch_size, None)
    cards = [entry(name).card for name in spec.names]
    for card in cards:
        if wanted.kind not in card.inputs:
            raise UsageError(
                f"{card.name} takes {card.takes}, and {wanted.title} has {wanted.kind}s"
            )
    check_overrides(files, cards)
    check_endpoint(cards, endpoint)
    parts = ("preferences", wanted.title, str(spec))
    stem = ".".join(re.sub(r"[^\w.-]+", "-", part) for part in parts)
    rows = out / f"{stem}.parquet"
    found = wanted.read(out / "pictures" / wanted.title)
    ids = _ids(found)
    _check(found, {file for _, file in ids}, allow_partial)
    report = score_items(
        [Item(id, relpath(found.folder / file, out), prompt) for (prompt, file), id in ids.items()],
        spec,
        reader=Reader(found.kind, root=out),
        loader=lambda: Loader(device, dtype, files, endpoint=endpoint),
        output=rows,
        overwrite=overwrite,
        batch_size=batch_size,
        about={"set": found.name},
        on_progress=on_progress,
    )
    failures = {row.id: f"{row.path}: {row.error}" for row in report.rows if row.error is not None}
    if failures and not allow_partial:
        id, error = next(iter(failures.items()))
        raise InputError(
            f"{len(failures)} of {len(ids)} {found.noun}s could not be scored; first {id}: "
            f"{error}. The same command tries them again; --allow-partial reports the rest, marked "
            "as incomplete"
        )
    scores = _scores(found, ids, report)
    agreement = {name: measure_agreement(found.questions, own) for name, own in scores.items()}
    first = next(iter(agreement.values()))
    pairs = first.with_ties.expected
    result = PreferenceResult(
        complete=not failures and not found.missing,
        n_expected=len(ids),
        n_scored=len(ids) - len(failures),
        failures=dict(list(failures.items())[:_SHOWN]),
        set=SetInfo(
            name=found.name,
            source=found.source,
            sha256=found.sha256,
            prompts_sha256=found.prompts_sha256,
            questions=len(found.questions),
            missing=found.missing,
            pairs=pairs,
            ties=pairs - first.accuracy.expected,
        ),
        agreement=agreement,
        changes=measure_changes(found.questions, scores),
        spec=str(spec),
        rewards=report.made_by["rewards"],
        weights=dict(report.weights),
        rows=rows.name,
        versions=versions(),
        device=report.device,
        created=now(),
    )
    path = out / f"{stem}.json"
    write_json(path, result.model_dump(mode="json"))
    return path, result


def _ids(found: PreferenceSet) -> dict[tuple[str, str], str]:
    """Prompts with their files, each named for where it is first: `00012-03`.

    Pick-a-Pic shows the picture that won again, VideoGen-RewardBench a clip in several pairs:
    scoring it again would change nothing.
    """
    ids: dict[tuple[str, str], str] = {}
    for index, question in enumerate(found.questions):
        for number, file in enumerate(question.media):
            ids.setdefault((question.prompt, file), f"{index:05d}-{number:02d}")
    return ids


def _check(found: PreferenceSet, files: set[str], allow_partial: bool) -> None:
    """Tells what is not there before hours are spent."""
    absent = sorted(file for file in files if not (found.folder / file).is_file())
    if len(absent) == len(files):
        raise InputError(f"{found.folder} has no {found.noun} of {found.name}, such as {absent[0]}")
    if allow_partial:
        return
    anyway = "Add what is missing, or --allow-partial measures the rest, marked as incomplete"
    if found.missing:
        raise InputError(f"{found.missing} lines of {found.name} are missing. {anyway}")
    if absent:
        raise InputError(
            f"{len(absent)} of {len(files)} {found.noun}s of {found.name} are missing in "
            f"{found.folder}: {', '.join(absent[:_SHOWN])}"
            f"{', ...' if len(absent) > _SHOWN else ''}. {anyway}"
        )


def _scores(
    found: PreferenceSet, ids: Mapping[tuple[str, str], str], report: Report
) -> dict[str, Scores]:
    """The scores of the files of each question, by reward, and the total where there is one."""
    import numpy as np

    by_id = {row.id: row for row in report.rows}
    rows = [
        [by_id[ids[question.prompt, file]] for file in question.media]
        for question in found.questions
    ]
    scores: dict[str, Scores] = {
        name: [[row.scores[name] for row in line] for line in rows] for name in report.rewards
    }
    if report.spec.has_total:
        # As the table holds them: another run reads them from it.
        totals: Sequence[Sequence[float | None]] = [
            [None if row.total is None else float(np.float32(row.total)) for row in line]
            for line in rows
        ]
        scores["total"] = totals
    return scores
