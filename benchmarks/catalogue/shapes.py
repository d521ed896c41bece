"""The benchmarks of the embedded world, on prompts that no model was trained on.

`shapes` has GenEval's six tasks; `shapes-video` and `shapes-i2v` have three tasks of moving shapes.
"""

from __future__ import annotations

from dataclasses import replace
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

_CLIPS = Benchmark(
    name="shapes-video",
    version="1",
    about="Do shapes in clips of the embedded world move as the prompt says? Train a model first",
    task="text-to-video",
    prompts=partial(from_file, "package:rewardkit.shapes/lists/motion-held-out.jsonl"),
    rewards="shapes-motion+shapes-correct",
    criteria=each_tag("moving", "color_moving", "two_moving"),
    samples=4,
    layout=NUMBERED,
    media="shapes-video",
    unit="share of steps between frames",
    notes=(
        "24 prompts of each task, of combinations that no recipe of the package trains on.",
        "A model has to be trained first: python -m rewardkit.shapes.train shapes-video-vae, then "
        "shapes-video or shapes-i2v.",
        "`grpo train` evaluates on the same prompts under the same seeds.",
    ),
)
register(
    _CLIPS,
    replace(
        _CLIPS,
        name="shapes-i2v",
        about="Do shapes move from a first frame as the prompt says? Train a model first",
        task="image-to-video",
        prompts=partial(
            from_file,
            "package:rewardkit.shapes/lists/first-frame-held-out.jsonl",
            "image-to-video",
        ),
        media="shapes-i2v",
    ),
)
