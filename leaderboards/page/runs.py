"""What runs of `grpo train` logged: the curves of their rewards, and their sheets of samples."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

from pydantic import TypeAdapter, ValidationError

from rewardkit.errors import InputError, describe
from rewardkit.records.documents import read_json

_LINE: TypeAdapter[dict[str, float]] = TypeAdapter(dict[str, float])
_TRAINED, _HELD_OUT, _ERROR = "reward/", "eval/", "eval_error/"
_SHEET = re.compile(r"step-(\d+)\.png")


class Point(NamedTuple):
    """A mean reward after a step, and its standard error where it is known."""

    step: int
    value: float
    error: float | None


class Sheet(NamedTuple):
    """A sheet of samples after a step: a picture, or an mp4 on which clips play."""

    step: int
    path: Path


@final
@dataclass(frozen=True)
class LoggedRun:
    """A run.

    Attributes:
        folder: where it is.
        root: the folder that was asked for, at or above it.
        name: its folder, from the one that was asked for.
        facts: what was trained and how, as text by term.
        trained: by reward, the means of each step's own samples.
        held_out: by reward, the means of evaluations.
        first: the first sheet; None where there are not two.
        last: the last one.
    """

    folder: Path
    root: Path
    name: str
    facts: dict[str, str]
    trained: dict[str, tuple[Point, ...]]
    held_out: dict[str, tuple[Point, ...]]
    first: Sheet | None
    last: Sheet | None


def read_runs(folder: Path) -> list[LoggedRun]:
    """The runs at and below a folder, by name.

    Raises:
        InputError: there is none, or what one logged cannot be read.
    """
    logs = sorted(
        path
        for path in folder.rglob("metrics.jsonl")
        if path.is_file() and (path.parent / "config.json").is_file()
    )
    if not logs:
        raise InputError(
            f"there is no run of `grpo train` below {folder}: one has config.json and metrics.jsonl"
        )
    return [_read(path.parent, folder) for path in logs]


def _read(run: Path, folder: Path) -> LoggedRun:
    lines = _lines(run / "metrics.jsonl")
    sheets = sorted(
        Sheet(int(match[1]), playing if (playing := path.with_suffix(".mp4")).is_file() else path)
        for path in (run / "samples").glob("*.png")
        if (match := _SHEET.fullmatch(path.name))
    )
    several = len(sheets) > 1
    return LoggedRun(
        folder=run,
        root=folder,
        name=folder.resolve().name if run == folder else run.relative_to(folder).as_posix(),
        facts=_facts(run),
        trained=_curves(lines, _TRAINED, None),
        held_out=_curves(lines, _HELD_OUT, _ERROR),
        first=sheets[0] if several else None,
        last=sheets[-1] if several else None,
    )


def _lines(path: Path) -> list[dict[str, float]]:
    try:
        *whole, torn = path.read_text("utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {describe(error)}") from error
    del torn  # the unfinished line of a run that still runs, or was killed
    found = []
    for number, line in enumerate(whole, start=1):
        try:
            figures = _LINE.validate_json(line)
        except ValidationError as error:
            raise InputError(f"{path}, line {number}: {error.errors()[0]['msg']}") from error
        if "step" not in figures or not all(map(math.isfinite, figures.values())):
            raise InputError(f"{path}, line {number}: not the finite figures of a step")
        found.append(figures)
    return found


def _curves(
    lines: Sequence[dict[str, float]], prefix: str, error: str | None
) -> dict[str, tuple[Point, ...]]:
    found: dict[str, list[Point]] = {}
    for figures in lines:
        for key, value in figures.items():
            if key.startswith(prefix):
                name = key.removeprefix(prefix)
                wide = None if error is None else figures.get(f"{error}{name}")
                found.setdefault(name, []).append(Point(int(figures["step"]), value, wide))
    return {name: tuple(points) for name, points in found.items()}


def _facts(run: Path) -> dict[str, str]:
    """What the card of a run says, of what people ask first; nothing where there is no card."""
    path = run / "rewardkit.json"
    try:
        card = read_json(path)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{path} cannot be read as JSON: {describe(error)}") from error
    terms = {
        "model": _at(card, "base", "alias") or _at(card, "base", "source"),
        "trained on": _at(card, "trained_on", "reward"),
        "method": _at(card, "method"),
        "recipe": _at(card, "recipe"),
        "seed": _at(card, "seed"),
        "steps of the sampler": _at(card, "sampler", "steps"),
        "group size": _at(card, "sampler", "group_size"),
        "prompts": _at(card, "trained_on", "prompts", "source"),
        "started": _at(card, "started"),
    }
    return {name: str(value) for name, value in terms.items() if value is not None}


def _at(tree: Any, *path: str) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def rewards(runs: Iterable[LoggedRun]) -> list[str]:
    """The rewards that runs have curves of; those that were trained on first."""
    runs = list(runs)
    curves = [*(run.trained for run in runs), *(run.held_out for run in runs)]
    return list(dict.fromkeys(name for curve in curves for name in curve))
