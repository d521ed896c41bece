"""Which results may stand in one column, and how their media were made. Pure functions."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.defaults import own_protocol
from benchmarks.results import ProtocolInfo, Result
from benchmarks.trained import rewards_in
from leaderboards.board import UnusualSetting

UNKNOWN = "unknown"
# Results of media made elsewhere do not say these; other settings belong to some models only.
_EXPECTED = ("samples", "seed", "steps", "guidance", "size", "scheduler", "dtype")
# Changes the last bits at most.
_SILENT = ("batch",)


def identity(result: Result) -> str:
    """A text that is equal for results of the same model, benchmark and protocol.

    A model that has an alias may lie in another place on each machine.
    """
    model = result.model.model_dump(mode="json")
    if model["alias"] is not None:
        del model["source"]
    return json.dumps(
        [result.measure(), model, result.protocol.model_dump(mode="json")], sort_keys=True
    )


def settings(result: Result) -> dict[str, str]:
    """How media were made, as text by setting; unknown settings are left out."""
    return _as_text(result.protocol)


def own_settings(result: Result) -> dict[str, str]:
    """The model's own settings; none for a model that has no alias."""
    own = own_protocol(result.model)
    if own is None:
        return {}
    texts = _as_text(ProtocolInfo(samples=1, sampling=own.model_dump()))
    # The number of samples belongs to the benchmark.
    return {name: value for name, value in texts.items() if name != "samples"}


def _as_text(protocol: ProtocolInfo) -> dict[str, str]:
    sampling = dict(protocol.sampling or {})
    width, height = sampling.pop("width", None), sampling.pop("height", None)
    steps, guidance = sampling.pop("steps", None), sampling.pop("guidance", None)
    scheduler = dict(protocol.scheduler or {})
    values: dict[str, Any] = {
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
        for name, value in values.items()
        if value is not None
    }


def differences(
    made: Sequence[Mapping[str, str]], own: Sequence[Mapping[str, str]] = ()
) -> list[tuple[UnusualSetting, ...]]:
    """The settings of each result that differ from the usual ones, which are the commonest.

    Where two values are equally common, those differ that are not the model's own. A model whose
    own value is not known is judged by those of the others; where none is known, all differ.
    Settings of schedulers are compared within one class of schedulers.

    Args:
        made: the settings of each result.
        own: each model's own settings.
    """
    names = dict.fromkeys((*_EXPECTED, *(name for texts in made for name in texts)))
    found: list[list[UnusualSetting]] = [[] for _ in made]
    for name in names:
        if name in _SILENT:
            continue
        groups: dict[str, list[tuple[int, str]]] = {}
        for index, texts in enumerate(made):
            value = texts.get(name, UNKNOWN if name in _EXPECTED else None)
            if value is not None:
                kind = texts.get("scheduler", "") if name.startswith("scheduler ") else ""
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
                    found[index].append(UnusualSetting(name, value))
    return [tuple(marks) for marks in found]


def trained_metrics(spec: str | None, metrics: Iterable[str]) -> tuple[str, ...]:
    """Those of `metrics` that are rewards in a spec, such as `0.7*hps.v2.1+1.4*clip@0.3`."""
    rewards = rewards_in(spec)
    return tuple(metric for metric in metrics if metric in rewards)


def labels(entries: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """A label for each entry: its name, with the settings in which it differs from namesakes.

    No two labels are the same: where no setting differs, a number does.

    Args:
        entries: names, and settings that may tell namesakes apart, as text by key.
    """
    found: list[str] = []
    for index, (name, known) in enumerate(entries):
        namesakes = [
            settings
            for other, (other_name, settings) in enumerate(entries)
            if other_name == name and other != index
        ]
        differing = [
            f"{key} {known.get(key, UNKNOWN)}"
            for key in dict.fromkeys((*known, *(key for texts in namesakes for key in texts)))
            if any(texts.get(key) != known.get(key) for texts in namesakes)
        ]
        label = stem = f"{name} ({', '.join(differing)})" if differing else name
        number = 2
        while label in found:
            label, number = f"{stem} #{number}", number + 1
        found.append(label)
    return found


def _usual(values: Iterable[str]) -> str | None:
    (first, count), *rest = Counter(values).most_common(2)
    return None if rest and rest[0][1] == count else first
