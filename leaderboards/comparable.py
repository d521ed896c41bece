"""What may stand in one column, and how the pictures of a column were made. Pure functions."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.defaults import own_protocol
from benchmarks.results import ProtocolInfo, Result
from leaderboards.board import Difference

UNKNOWN = "unknown"
# A result that does not say these was made somewhere else; others belong to some models only.
_EXPECTED = ("samples", "seed", "steps", "guidance", "size", "scheduler", "dtype")
# Changes the last bits of pictures at most.
_SILENT = ("batch",)


def measure(result: Result) -> dict[str, Any]:
    """What two results must have in common for their scores to be of one thing.

    Benchmark, version and metric; prompts, by their checksum; rewards, by the checksums of their
    weights and by what is done to a picture before they see it.
    """
    return {
        "benchmark": result.benchmark.model_dump(mode="json"),
        "prompts": result.prompts.model_dump(mode="json", exclude={"source"}),
        "rewards": result.rewards,
    }


def identity(result: Result) -> str:
    """What two results have in common that are of the same model, benchmark and protocol.

    A model that has an alias may lie at another place on each machine.
    """
    told = result.model.model_dump(mode="json")
    if told["alias"] is not None:
        del told["source"]
    return json.dumps(
        [measure(result), told, result.protocol.model_dump(mode="json")], sort_keys=True
    )


def settings(result: Result) -> dict[str, str]:
    """How pictures were made, as text by setting; what is unknown is left out."""
    return _as_text(result.protocol)


def own_settings(result: Result) -> dict[str, str]:
    """The settings that would have been the model's own; none of a model without a name here."""
    own = own_protocol(result.model)
    if own is None:
        return {}
    told = _as_text(ProtocolInfo(samples=1, sampling=own.model_dump()))
    return {name: value for name, value in told.items() if name != "samples"}  # the benchmark's


def _as_text(protocol: ProtocolInfo) -> dict[str, str]:
    sampling = dict(protocol.sampling or {})
    width, height = sampling.pop("width", None), sampling.pop("height", None)
    steps, guidance = sampling.pop("steps", None), sampling.pop("guidance", None)
    scheduler = dict(protocol.scheduler or {})
    told: dict[str, Any] = {
        "samples": protocol.samples,
        "seed": protocol.seed,
        "steps": steps,
        "guidance": guidance,
        "size": None if width is None or height is None else f"{width}x{height}",
        "scheduler": scheduler.pop("class", None),
        "dtype": protocol.dtype,
        "batch": protocol.batch,
        **{name.replace("_", " "): value for name, value in sampling.items()},
        **{f"scheduler {name.replace('_', ' ')}": value for name, value in scheduler.items()},
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in told.items()
        if value is not None
    }


def differences(
    made: Sequence[Mapping[str, str]], own: Sequence[Mapping[str, str]] = ()
) -> list[tuple[Difference, ...]]:
    """In what each differs from what is usual: settings with another value than the commonest.

    Where two values are as common, those differ that are not the model's own; a model whose own is
    not known differs from those of the others, and where none is known, all differ. Settings of
    schedulers are compared within one class of them.

    Args:
        made: the settings of each.
        own: the settings that would have been each model's own.
    """
    names = dict.fromkeys((*_EXPECTED, *(name for one in made for name in one)))
    found: list[list[Difference]] = [[] for _ in made]
    for name in names:
        if name in _SILENT:
            continue
        groups: dict[str, list[tuple[int, str]]] = {}
        for index, one in enumerate(made):
            value = one.get(name, UNKNOWN if name in _EXPECTED else None)
            if value is not None:
                kind = one.get("scheduler", "") if name.startswith("scheduler ") else ""
                groups.setdefault(kind, []).append((index, value))
        for group in groups.values():
            usual = _usual(value for _, value in group)
            known = {of[name] for of in own if name in of}
            for index, value in group:
                if usual is not None:
                    alike = value == usual
                elif own and name in own[index]:
                    alike = value == own[index][name]
                else:
                    alike = value in known
                if not alike:
                    found[index].append(Difference(name, value))
    return [tuple(one) for one in found]


def trained_metrics(spec: str | None, metrics: Iterable[str]) -> tuple[str, ...]:
    """Those of `metrics` that a spec of rewards, such as `0.7*hps.v2.1+1.4*clip@0.3`, names."""
    named = set(re.split(r"[\s+*@]+", spec or ""))
    return tuple(metric for metric in metrics if metric in named)


def labels(entries: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """A name for each of (name, what is known of it): the name, and what tells it from namesakes.

    No two are the same: where nothing tells them apart, a number does.

    Args:
        entries: names, and what may tell namesakes apart, as text by key.
    """
    found: list[str] = []
    for index, (name, known) in enumerate(entries):
        others = [
            told for other, (same, told) in enumerate(entries) if same == name and other != index
        ]
        telling = [
            f"{key} {known.get(key, UNKNOWN)}"
            for key in dict.fromkeys((*known, *(key for told in others for key in told)))
            if any(told.get(key) != known.get(key) for told in others)
        ]
        label = stem = f"{name} ({', '.join(telling)})" if telling else name
        number = 2
        while label in found:
            label, number = f"{stem} #{number}", number + 1
        found.append(label)
    return found


def _usual(values: Iterable[str]) -> str | None:
    (first, count), *rest = Counter(values).most_common(2)
    return None if rest and rest[0][1] == count else first
