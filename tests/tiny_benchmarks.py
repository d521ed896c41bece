"""Benchmarks of a few prompts, scored without weights, and pictures for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pictures import picture, pil
from pydantic import BaseModel

from benchmarks.benchmark import Benchmark, Case, PromptSet
from benchmarks.layout import NUMBERED
from benchmarks.results import Result, read_result, read_table
from benchmarks.runner import score
from rewardkit.records.rows import Row

TASKS = ("rings", "boxes", "rings", "boxes", "rings", "stars", "stars")
CASES = [Case(i, task, f"a picture of {task}, {i}") for i, task in enumerate(TASKS)]
PROMPTS = PromptSet("made up", CASES)
TINY = Benchmark(
    name="tiny",
    version="1",
    about="Seven prompts of three tasks",
    prompts=lambda: PROMPTS,
    rewards="sharpness+colorfulness",
    headline="tasks",
    samples=2,
    layout=NUMBERED,
    pictures="tiny",
    unit="level",
    scale=10.0,
    figures=lambda scored: {"pictures with a score": float(len(scored))},
)


def save(path: Path, seed: int, **options: Any) -> Path:
    """A picture of 24 x 20 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pil(picture(seed, 24, 20)).save(path, **options)
    return path


def fill(
    folder: Path,
    benchmark: Benchmark = TINY,
    cases: Sequence[Case] = CASES,
    suffix: str = ".png",
    seed: int = 0,
) -> Path:
    """All pictures of a benchmark, each another one."""
    for case in cases:
        benchmark.layout.write_beside(folder, case)
        for sample in range(benchmark.samples):
            path = folder / f"{benchmark.layout.place(case, sample)}{suffix}"
            save(path, seed + case.index * benchmark.samples + sample)
    return folder


def result_of(folder: Path, out: Path, name: str = "mine", **options: Any) -> Path:
    """The path of the result of `TINY` on a folder."""
    return score(TINY, PROMPTS, folder, out, name=name, device="cpu", batch_size=3, **options)


def said(path: Path) -> tuple[dict[str, Any], tuple[Row, ...]]:
    """All that a result says but for the time, and its rows."""
    result = read_result(path)
    return result.model_dump(mode="json", exclude={"created"}), read_table(result, path).rows


def changed(path: Path, **changes: Any) -> Path:
    """A result's file, with parts of it replaced: `model=...` is merged into what is there."""
    result = read_result(path)
    for name, value in changes.items():
        part = getattr(result, name)
        new = part.model_copy(update=value) if isinstance(part, BaseModel) else value
        result = result.model_copy(update={name: new})
    path.write_text(Result.model_validate(result.model_dump()).model_dump_json(), "utf-8")
    return path


def without_prompts(benchmark: Benchmark = TINY) -> Benchmark:
    """One whose prompts and rewards are the user's to give."""
    return replace(benchmark, prompts=None, rewards=None)
