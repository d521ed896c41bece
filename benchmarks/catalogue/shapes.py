"""The benchmark of the embedded world: GenEval's six tasks, on prompts no model was trained on."""

from __future__ import annotations

from functools import partial

from benchmarks.benchmark import Benchmark, register
from benchmarks.catalogue.geneval import TASKS
from benchmarks.criteria import each_tag
from benchmarks.layout import NUMBERED
from benchmarks.lists import from_file

register(
    Benchmark(
        name="shapes",
        version="1",
        about="Do pictures of the embedded world show exactly what the prompt says? No download",
        task="text-to-image",
        prompts=partial(from_file, "package:rewardkit.shapes/lists/held-out.jsonl"),
        rewards="shapes-correct+shapes-graded",
        criteria=each_tag(*TASKS),
        samples=4,
        layout=NUMBERED,
        media="shapes",
        unit="share of pictures",
        notes=(
            "16 prompts of each of GenEval's tasks, of combinations that no model of the package "
            "was trained on.",
            "`grpo train` evaluates on the same prompts under the same seeds.",
        ),
    )
)
