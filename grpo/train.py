"""A training run from its configuration to its weights: start or go on, step, evaluate, save."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

import torch

from grpo import checkpoint, policies
from grpo.adapters import export
from grpo.card import run_card
from grpo.config import Config
from grpo.display import Display
from grpo.evaluation import Evaluation, summary, write_sheet
from grpo.rewards import Rewards
from grpo.run import Run
from grpo.trainer import Trainer
from rewardkit.media.prompts import read
from rewardkit.models.devices import pick_device


def train(config: Config, *, out: Path, resume: bool = False, device: str = "auto") -> Run:
    """Trains as `config` says into the folder `out`; with `resume` goes on from its newest state.

    Raises:
        UsageError: the folder, the configuration or the model is not fit for it.
        RewardKitError: a reward failed, or a file could not be written: the last checkpoint stays.
        KeyboardInterrupt: Ctrl-C; the step it was in is finished, and saved.
    """
    run = Run.open(out, config, resume)
    lines = read(config.prompts)
    if config.policy.float32_matmul is not None:
        torch.set_float32_matmul_precision(config.policy.float32_matmul)
    # From the CPU, in the run's dtype: the device never holds more than training needs.
    pipeline = policies.load(config)
    policy = policies.of(pipeline, config, pick_device(device))
    rewards = Rewards(config.reward, str(policy.device))
    trainer = Trainer(config, policy, rewards, lines)
    evaluation = _evaluation(config, trainer)
    card = run_card(config, pipeline, rewards, lines)

    state = run.latest() if resume else None
    done = saved = 0
    if state is not None:
        trainer.restore(state)
        done = saved = int(state["step"])
    run.begin(config, card)
    run.begin_log(done)

    with Display(config, run, done) as display, _asked_to_stop() as stopping:
        if done == 0 and evaluation is not None:
            display.evaluated(_evaluate(run, trainer, evaluation, 0))
        while done < config.steps and not stopping():
            began = perf_counter()
            figures = trainer.step(done)
            done += 1
            line: dict[str, Any] = {"step": done, **figures.values}
            line |= {f"seconds/{name}": value for name, value in figures.seconds.items()}
            line["seconds/step"] = perf_counter() - began
            run.log(line)
            display.stepped(done, line)
            if evaluation is not None and (
                done == config.steps or done % (config.evaluation.every or done + 1) == 0
            ):
                display.evaluated(_evaluate(run, trainer, evaluation, done))
            if done % config.checkpoint.every == 0:
                checkpoint.save(run.checkpoints, done, trainer.state(), config.checkpoint.keep)
                saved = done
        if done > saved:
            checkpoint.save(run.checkpoints, done, trainer.state(), config.checkpoint.keep)
        with trainer.best():
            export(policy, run.model, card)
        display.finished(done)
    if done < config.steps:
        raise KeyboardInterrupt
    return run


def _evaluation(config: Config, trainer: Trainer) -> Evaluation | None:
    settings, policy = config.evaluation, trainer.policy
    if settings.prompts is None:
        return None
    protocol = policy.protocol
    if settings.steps is not None:
        protocol = protocol.model_copy(update={"steps": settings.steps})
    rewards = (
        trainer.rewards
        if settings.rewards is None
        else Rewards(settings.rewards, str(policy.device))
    )
    return Evaluation(
        policy,
        rewards,
        read(settings.prompts),
        settings.samples,
        protocol,
        config.sampler.batch_size,
    )


def _evaluate(run: Run, trainer: Trainer, evaluation: Evaluation, step: int) -> dict[str, Any]:
    with trainer.best():
        scores, pictures = evaluation()
    shown = evaluation.lines[: trainer.config.evaluation.sheet]
    write_sheet(
        run.samples / f"step-{step:06d}.png",
        pictures[: len(shown)],
        [
            "\n".join(
                [line.prompt, *(f"{name} {values[i]:.3g}" for name, values in scores.items())]
            )
            for i, line in enumerate(shown)
        ],
    )
    figures = {"step": step, **summary(scores)}
    run.log(figures)
    return figures


@contextmanager
def _asked_to_stop() -> Iterator[Any]:
    """Ctrl-C ends the run after the step it is in; a second one ends it at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
