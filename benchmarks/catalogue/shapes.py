"""The embedded world's benchmark: GenEval's six tasks on prompts that nothing was trained on."""

from __future__ import annotations

from functools import partial

from benchmarks.benchmark import Benchmark, register
from benchmarks.layout import NUMBERED
from benchmarks.lists import from_file

register(
    Benchmark(
        name="shapes",
        version="1",
        about="Does a picture of the embedded world show exactly what was asked? No download",
        prompts=partial(from_file, "package:rewardkit.shapes/lists/held-out.jsonl"),
        rewards="shapes-correct+shapes-graded",
        headline="tasks",
        samples=4,
        layout=NUMBERED,
        pictures="shapes",
        unit="share of pictures",
        notes=(
            "16 prompts of each of GenEval's tasks, of combinations that no model of the package "
            "was trained on.",
            "`grpo train` evaluates on the same prompts under the same seeds.",
        ),
    )
)
