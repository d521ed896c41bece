"""Evaluation of generators of images and of clips on held-out prompts, overall and per task."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rewardkit.generators.pipelines import Pipeline, generate
from rewardkit.generators.protocol import Protocol
from rewardkit.generators.requests import Request
from rewardkit.shapes import motion
from rewardkit.shapes.detect import DetectedShape, detect
from rewardkit.shapes.judge import correct, graded
from rewardkit.shapes.prompts import TASKS, balanced, parse


def held_out(pipeline: Any, protocol: Protocol, samples: int) -> dict[str, float]:
    """`strict` and `graded` over all tasks, and strict per task; seeds are 0, 1, 2, ..."""
    prompts = balanced("held-out", samples // len(TASKS))
    requests = [Request(prompt, seed) for seed, prompt in enumerate(prompts)]
    model = Pipeline(pipeline, "in training", None, None, None, None, protocol)
    with torch.no_grad():
        pictures = list(generate(model, requests, batch_size=90))
    found = detect(np.stack([np.asarray(picture) for picture in pictures]))
    parsed = [parse(prompt) for prompt in prompts]
    right = [correct(*pair) for pair in zip(parsed, found, strict=True)]
    credit = [graded(*pair) for pair in zip(parsed, found, strict=True)]
    by_task = {
        task: float(np.mean([r for r, a in zip(right, parsed, strict=True) if a.task == task]))
        for task in TASKS
    }
    return {"strict": float(np.mean(right)), "graded": float(np.mean(credit)), **by_task}


def held_out_clips(
    pipeline: Any, protocol: Protocol, samples: int, first_frame: bool
) -> dict[str, float]:
    """`strict`, the share of clips whose every step is right, and `motion`, that of steps.

    Also `motion` per task and, of clips that are given a first frame, the share that keeps it.
    Seeds are 0, 1, 2, ...
    """
    prompts = motion.balanced("held-out", samples // len(motion.TASKS))
    parsed = [motion.parse(prompt) for prompt in prompts]
    rng = np.random.default_rng(1)
    firsts = [motion.render(request, rng)[0] for request in parsed]
    requests = [
        Request(prompt, seed, {"first_frame": torch.from_numpy(first)} if first_frame else {})
        for seed, (prompt, first) in enumerate(zip(prompts, firsts, strict=True))
    ]
    model = Pipeline(pipeline, "in training", None, None, None, None, protocol)
    with torch.no_grad():
        clips: list[Any] = list(generate(model, requests, batch_size=60))
    found = [detect(np.asarray(clip.frames)) for clip in clips]
    shares = [motion.motion(*pair) for pair in zip(parsed, found, strict=True)]
    reached = {
        "strict": float(np.mean([share == 1.0 for share in shares])),
        "motion": float(np.mean(shares)),
    }
    for task in motion.TASKS:
        reached[task] = float(
            np.mean([s for s, a in zip(shares, parsed, strict=True) if a.task == task])
        )
    if first_frame:
        given = detect(np.stack(firsts))
        kept = [_places(a) == _places(b[0]) for a, b in zip(given, found, strict=True)]
        reached["first frame kept"] = float(np.mean(kept))
    return reached


def _places(found: list[DetectedShape]) -> list[tuple[str, str, int, int]]:
    """What is where in a frame, to a few pixels."""
    return sorted(
        (str(s.shape), str(s.colour), round(s.centre[0] / 4), round(s.centre[1] / 4)) for s in found
    )
