"""Evaluation of a generator during training: strict scores per task on held-out prompts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rewardkit.generators.pipelines import Pipeline, generate
from rewardkit.generators.protocol import Protocol
from rewardkit.generators.requests import Request
from rewardkit.shapes.detect import detect
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
