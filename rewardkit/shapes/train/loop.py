"""A seeded, logged training loop that can be resumed.

Step `n` depends only on (seed, n) and the weights, so a resumed run gives the same result as an
uninterrupted one.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rewardkit.generators.noise import generator
from rewardkit.generators.protocol import Protocol
from rewardkit.records.storage import atomic_write
from rewardkit.shapes.prompts import TASKS, parse, prompts, scene
from rewardkit.shapes.world import Thing

LOG_EVERY = 100
WARM_UP = 100


@dataclass(frozen=True)
class Schedule:
    """Number of steps and learning rate of a training.

    Attributes:
        steps: number of weight updates.
        batch: samples per update.
        lr: learning rate of AdamW, after a linear warm-up over the first 100 steps.
        cool: share of the steps, at the end, over which the learning rate decays to zero.
        ema: decay of the moving average of the weights; the average is what is saved.
        evaluate_every: number of steps between evaluations.
    """

    steps: int
    batch: int
    lr: float
    cool: float = 0.3
    ema: float = 0.998
    evaluate_every: int = 1000

    def rate(self, step: int) -> float:
        """The learning rate of `step`: linear warm-up, constant, linear decay."""
        down = (self.steps - step) / max(1.0, self.cool * self.steps)
        return self.lr * min(1.0, (step + 1) / WARM_UP, down)


class Training(ABC):
    """A model, its loss and its evaluation.

    Attributes:
        name: name of the checkpoint.
        schedule: number of steps and learning rate.
        modules: the trained modules.
        data: description of the training data for the card.
        protocol: sampling settings of a generator.
        checked: number of steps that are trained again to check the recorded loss.
    """

    name: str
    schedule: Schedule
    modules: nn.ModuleDict
    data: str
    protocol: Protocol | None = None
    checked: int = 300

    @abstractmethod
    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        """The loss of one batch; all randomness comes from the two generators."""

    @abstractmethod
    def evaluate(self, modules: nn.ModuleDict, samples: int) -> dict[str, float]:
        """Metrics of the averaged modules on held-out prompts."""

    @abstractmethod
    def save(self, modules: nn.ModuleDict, folder: Path) -> None:
        """Save the checkpoint in the layout of its library."""


def train(
    training: Training,
    seed: int,
    run: Path,
    stop_after: int,
    say: Callable[[str], None],
) -> tuple[nn.ModuleDict, list[dict[str, Any]]]:
    """The averaged modules after `stop_after` steps, and the log; resumes from `run`."""
    schedule = training.schedule
    average = AveragedModel(training.modules, multi_avg_fn=get_ema_multi_avg_fn(schedule.ema))
    parameters = [p for p in training.modules.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.lr, weight_decay=0.01)
    log: list[dict[str, Any]] = []
    checkpoint, start, seconds = run / "checkpoint.pt", 0, 0.0
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        training.modules.load_state_dict(saved["modules"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        start, seconds, log = saved["step"], saved["seconds"], saved["log"]
        say(f"{training.name}: resumed after step {start}")
    losses: list[float] = []
    began = time.monotonic() - seconds
    for step in range(start, stop_after):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss = training.loss(np.random.default_rng([seed, step]), generator(seed, step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update_parameters(training.modules)
        losses.append(loss.item())
        done = step + 1
        if done % LOG_EVERY == 0 or done == stop_after:
            line: dict[str, Any] = {"step": done, "loss": float(np.mean(losses))}
            losses.clear()
            line["seconds"] = round(time.monotonic() - began)
            if done % schedule.evaluate_every == 0 and done < stop_after:
                line |= training.evaluate(cast(nn.ModuleDict, average.module), 180)
            log.append(line)
            say(json.dumps({k: round(v, 4) for k, v in line.items()}))
            if done % (5 * LOG_EVERY) == 0 or done == stop_after:
                state = {
                    "modules": training.modules.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": done,
                    "seconds": time.monotonic() - began,
                    "log": log,
                }
                with atomic_write(checkpoint) as temporary:
                    torch.save(state, temporary)
    assert isinstance(average.module, nn.ModuleDict)
    return average.module, log


def draw(
    number: int, weights: dict[str, float], rng: np.random.Generator
) -> tuple[list[str], list[Sequence[Thing]]]:
    """Random training prompts, with tasks sampled by weight, and a scene for each."""
    share = np.array([weights[task] for task in TASKS])
    tasks = rng.choice(len(TASKS), number, p=share / share.sum())
    drawn = [str(rng.choice(prompts("train")[TASKS[task]])) for task in tasks]
    return drawn, [scene(parse(prompt), rng) for prompt in drawn]
