"""Benchmarks of a few prompts, scored without weights, and pictures for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pictures import picture, pil
from pydantic import BaseModel

from benchmarks.benchmark import Benchmark
from benchmarks.criteria import Criterion, each_tag, share
from benchmarks.layout import NUMBERED
from benchmarks.prompts import Case, PromptSet
from benchmarks.reading import read_result, read_table
from benchmarks.results import Result
from benchmarks.runner import score
from rewardkit.media.prompts import read
from rewardkit.records.rows import Row
from rewardkit.shapes.prompts import parse, scene
from rewardkit.shapes.world import render

TASKS = ("rings", "boxes", "rings", "boxes", "rings", "stars", "stars")
CASES = [Case(i, (task,), f"a picture of {task}, {i}") for i, task in enumerate(TASKS)]
PROMPTS = PromptSet("made up", CASES)
TINY = Benchmark(
    name="tiny",
    version="1",
    about="Seven prompts of three tasks",
    task="text-to-image",
    prompts=lambda: PROMPTS,
    rewards="sharpness+colorfulness",
    criteria=each_tag("rings", "boxes", "stars"),
    samples=2,
    layout=NUMBERED,
    media="tiny",
    unit="level",
    scale=10.0,
    figures=lambda scored: {"pictures with a score": float(len(scored))},
)

# The scheme of VBench on the embedded world: dimensions of two groups, which weigh 4 : 1, each
# normalised, and prompts that serve several of them.
QUALITY = (
    Criterion("sharpness", "sharp", high=4000.0),
    Criterion("contrast", "vivid", low=5.0, high=85.0, weight=0.5),
)
SEMANTIC = (Criterion("shapes-graded", "objects"), Criterion("shapes-correct", "colour"))
_TAGS = (
    ("sharp", "vivid"), ("sharp", "vivid"), ("sharp", "objects"), ("sharp", "objects"),
    ("objects",), ("objects",), ("colour",), ("colour",), ("colour",),
)  # fmt: skip
DIMENSION_PROMPTS = PromptSet(
    "the embedded world's",
    [
        Case(index, tags, line.prompt, line.meta)
        for index, (tags, line) in enumerate(
            zip(_TAGS, read("package:rewardkit.shapes/lists/held-out.jsonl"), strict=False)
        )
    ],
)
DIMENSIONS = Benchmark(
    name="dimensions",
    version="1",
    about="Nine prompts of four dimensions",
    task="text-to-image",
    prompts=lambda: DIMENSION_PROMPTS,
    rewards="sharpness+contrast+shapes-graded+shapes-correct",
    criteria=(*share(4, *QUALITY), *share(1, *SEMANTIC)),
    samples=2,
    layout=NUMBERED,
    media="dimensions",
    unit="share of the best",
    scale=100.0,
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


def draw(folder: Path, seed: int, right: float) -> Path:
    """Scenes of the embedded world for `DIMENSIONS`: a share shows what the prompt says."""
    rng = np.random.default_rng(seed)
    cases = DIMENSION_PROMPTS.cases
    folder.mkdir(parents=True)
    for case in cases:
        for sample in range(DIMENSIONS.samples):
            shown = case if rng.random() < right else cases[rng.integers(len(cases))]
            (pixels,) = render([scene(parse(shown.prompt), rng)])
            path = folder / f"{DIMENSIONS.layout.place(case, sample)}.png"
            pil(torch.from_numpy(pixels)).save(path)
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
