"""Results of models that do not exist, as `rewardkit bench` would have written them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.benchmark import Benchmark
from benchmarks.criteria import each_tag
from benchmarks.layout import NUMBERED
from benchmarks.prompts import Case
from benchmarks.results import (
    BenchmarkInfo,
    CriterionInfo,
    MediaInfo,
    ModelInfo,
    PromptInfo,
    ProtocolInfo,
    Result,
)
from benchmarks.rows import ScoredSample
from benchmarks.summary import metrics
from leaderboards.load import LoadedResult
from rewardkit.records.rows import Row, write_rows
from rewardkit.records.storage import write_json

TASKS = ("colors", "counting")
PER_TASK = 12
SAMPLES = 2
METRIC = "judge"

#: The score of a picture from task, prompt and sample; None is a picture that is not there.
Judge = Callable[[str, int, int], float | None]


def constant(value: float) -> Judge:
    return lambda task, index, sample: value + 0.01 * (index % 3)


def protocol(**changed: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "samples": SAMPLES,
        "seed": 0,
        "sampling": {"steps": 20, "guidance": 4.5, "width": 512, "height": 512},
        "scheduler": {"class": "DDIMScheduler", "steps_offset": 1},
        "dtype": "float32",
        "batch": 4,
    }
    for name, value in changed.items():
        part = fields["sampling"] if name in {"steps", "guidance", "width", "height"} else fields
        part[name] = value
    return fields


def made(
    name: str = "alpha",
    judge: Judge | float = 0.5,
    *,
    benchmark: str = "quiz",
    metric: str = METRIC,
    model: Mapping[str, Any] | None = None,
    rows: bool = True,
    created: str = "2026-01-01T00:00:00+00:00",
    sha256: str = "0" * 64,
    folder: str = "results",
    task: str = "text-to-image",
    **changed: Any,
) -> LoadedResult:
    """A result of `name`, with fields of `Result` and of its protocol changed as told."""
    of_protocol = {key: changed.pop(key) for key in list(changed) if key not in Result.model_fields}
    protocol_info = ProtocolInfo(**protocol(**of_protocol))
    cases = [
        Case(index, (TASKS[index // PER_TASK],), f"prompt {index}")
        for index in range(PER_TASK * len(TASKS))
    ]
    judged = judge if callable(judge) else constant(judge)
    pictures = [
        ScoredSample(case.stratum, case.index, sample, {metric: value, "second": value / 2})
        for case in cases
        for sample in range(protocol_info.samples)
        if (value := judged(case.stratum, case.index, sample)) is not None
    ]
    quiz = Benchmark(
        name=benchmark, version="1", about="", task=task, prompts=None, rewards=None,
        criteria=each_tag(*TASKS), samples=protocol_info.samples, layout=NUMBERED, media="quiz",
        unit="points",
    )  # fmt: skip
    found = metrics(quiz, [metric, "second"], cases, pictures)
    expected = len(cases) * protocol_info.samples
    stem = re.sub(r"[^\w.-]+", "-", f"{name}.{benchmark}")
    fields: dict[str, Any] = {
        "score": found[metric].headline.score,
        "interval": found[metric].headline.interval,
        "complete": len(pictures) == expected,
        "n_expected": expected,
        "n_scored": len(pictures),
        "benchmark": BenchmarkInfo(
            name=benchmark, version="1", task=task, metric=metric,
            criteria=tuple(CriterionInfo(reward=metric, tag=tag) for tag in TASKS),
            unit="points", scale=1.0,
        ),
        "model": ModelInfo(**{"name": name, "source": f"hub/{name}", **(model or {})}),
        "metrics": found,
        "figures": {},
        "prompts": PromptInfo(source="a list", sha256="a" * 64, number=len(cases)),
        "protocol": protocol_info,
        "rewards": {metric: {"sha256 of judge": "b" * 64}, "second": {}},
        "weights": {},
        "media": MediaInfo(folder=f"pictures/{name}", made_here=True, sha256=sha256),
        "rows": f"{stem}.csv",
        "versions": {"rewardkit": "0.1.0"},
        "device": "cpu",
        "created": created,
    }  # fmt: skip
    ids = {
        f"{picture.stratum}/{picture.index:05d}-{picture.sample:02d}": picture
        for picture in pictures
    }
    path = Path(folder) / f"{stem}.json"
    return LoadedResult(path, Result(**{**fields, **changed}), ids if rows else None)


def write(loaded: LoadedResult, folder: Path, name: str | None = None) -> Path:
    """Writes a result and its rows below `folder`."""
    path = folder / (name or loaded.path.name)
    write_json(path, loaded.result.model_dump(mode="json"))
    if loaded.rows is not None:
        rows = [
            Row(id=id, path=f"{id}.png", prompt=None, scores=dict(row.scores))
            for id, row in loaded.rows.items()
        ]
        write_rows(folder / loaded.result.rows, rows, list(loaded.result.metrics), False)
    return path
