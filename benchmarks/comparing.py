"""Two results of one benchmark, pair by pair: is the second model better, and how sure is that?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from benchmarks.results import Result, clusters, place, read_result, read_table
from benchmarks.trust import contradiction
from rewardkit.engine.spec import parse
from rewardkit.errors import InputError, UsageError
from rewardkit.records.differences import differences, first_difference

if TYPE_CHECKING:
    from rewardkit.stats.clusters import Difference, Stratified


@final
@dataclass(frozen=True)
class Comparison:
    """What changed between two results.

    Attributes:
        base: the first.
        other: the second.
        pictures: how many are in both.
        left_out: how many are in one of them alone, or lack a score.
        metrics: by reward that both have, times the benchmark's scale.
        warnings: how they were not made alike, one line each.
    """

    base: Result
    other: Result
    pictures: int
    left_out: int
    metrics: dict[str, Stratified[Difference]]
    warnings: Sequence[str]


def compare_results(base: Path, other: Path) -> Comparison:
    """Compares two results over the pictures, by prompt and sample, that both have.

    Raises:
        InputError: they are not of one benchmark and one list of prompts, share no picture, or
            cannot be read.
    """
    from rewardkit.stats.clusters import compare

    first, second = read_result(base), read_result(other)
    # Equal prompts may lie in files of different names.
    told = [
        one.model_dump(
            mode="json",
            include={"benchmark", "prompts", "rewards"},
            exclude={"prompts": {"source"}},
        )
        for one in (first, second)
    ]
    different = first_difference(told[0], told[1])
    if different is not None:
        raise InputError(
            f"{base} and {other} do not measure the same: {different.key} is {different.before} "
            f"and {different.after}. Run one of them again like the other"
        )
    tables = [read_table(result, path) for result, path in ((first, base), (second, other))]
    rows = [{row.id: row.scores for row in table.rows} for table in tables]
    cluster = [clusters(table) for table in tables]
    for result, path, scores, prompts in zip(
        (first, second), (base, other), rows, cluster, strict=True
    ):
        doubt = contradiction(result, scores, prompts)
        if doubt is not None:
            raise InputError(f"{path} cannot be trusted: {doubt}. Score its pictures again")
    both = [id for id in rows[0] if id in rows[1]]
    if not both:
        raise InputError(f"{base} and {other} share no picture: there is nothing to compare")
    metrics = {}
    fewest = len(both)
    for name in first.metrics:
        pairs = [(id, rows[0][id][name], rows[1][id][name]) for id in both]
        known = [(id, one, two) for id, one, two in pairs if one is not None and two is not None]
        fewest = min(fewest, len(known))
        if known:
            scale = first.benchmark.scale
            places = [place(id) for id, _, _ in known]
            metrics[name] = compare(
                [scale * one for _, one, _ in known],
                [scale * two for _, _, two in known],
                [cluster[0][id] for id, _, _ in known],
                [task for task, _, _ in places],
                first.benchmark.headline,
            )
    if not metrics:
        raise InputError(f"{base} and {other} share no picture that has a score in both")
    left_out = len(rows[0].keys() | rows[1].keys()) - fewest
    return Comparison(first, second, len(both), left_out, metrics, _warnings(first, second))


def _warnings(first: Result, second: Result) -> list[str]:
    """What of two results makes their difference something else than that of their models."""
    warnings = []
    for result in (first, second):
        if not result.complete:
            warnings.append(
                f"{result.model.name} is incomplete: {result.n_scored} of {result.n_expected} "
                "pictures"
            )
    # What is made together moves the last bits alone.
    before, after = (
        one.protocol.model_dump(mode="json", exclude={"batch"}) for one in (first, second)
    )
    told = list(differences(before, after))
    if any(one.key == "scheduler.class" for one in told):  # each class has settings of its own
        told = [
            one for one in told if not one.key.startswith("scheduler.") or one.key[10:] == "class"
        ]
    if told:
        warnings.append(
            "the pictures were not made alike: "
            + "; ".join(
                f"{one.key} is {one.before} of {first.model.name} and {one.after} of "
                f"{second.model.name}"
                for one in told
            )
        )
    metric = first.benchmark.metric
    warnings += [
        f"{one.model.name} was trained on {metric}, which measures it here: see how other rewards "
        "changed"
        for one in (first, second)
        if metric in _trained_on(one)
    ]
    return warnings


def _trained_on(result: Result) -> tuple[str, ...]:
    """The rewards that the model was trained on, as far as its card says."""
    told = result.model.trained_on or {}
    try:
        return parse(str(told.get("reward")), str).names
    except UsageError:
        return ()
