"""A training run from its configuration to its weights: start or resume, step, evaluate, save."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter
from types import FrameType
from typing import Any

import torch

from grpo import policies, preview, ready
from grpo.card import run_card
from grpo.config.fields import Config
from grpo.display import Display
from grpo.distributed import World
from grpo.evaluation import Evaluation, summary, write_sheet
from grpo.export import export
from grpo.places import anchored
from grpo.rewards import Rewards
from grpo.run import Run
from grpo.start import take
from grpo.trainer import Trainer
from rewardkit.extras import require
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.lora_hub import lora_path
from rewardkit.media.prompts import read
from rewardkit.media.sheets import one_line

# Seconds within which a launcher passes a signal on.
_MOMENT = 2.0


class Stopped(KeyboardInterrupt):
    """The run was stopped: its current step is finished and saved, and a message says so."""


def train(
    config: Config,
    *,
    out: Path,
    resume: bool = False,
    device: str = "auto",
    should_stop: Callable[[], bool] | None = None,
    world: World | None = None,
) -> Run:
    """Trains as `config` says into the folder `out`; with `resume`, continues from its checkpoint.

    Args:
        config: the run.
        out: its folder.
        resume: whether to resume the run in it, if there is one.
        device: "auto" is the first available of CUDA, Apple's GPU and the CPU.
        should_stop: called before each step; True ends the run as Ctrl-C and SIGTERM do, which
            are handled in the main thread of a process alone.
        world: the processes that train together; None takes those that torchrun or accelerate has
            started.

    Raises:
        MissingPackage: the extra `train` is not installed.
        UsageError: the folder, the configuration or the model cannot be used for it.
        RewardKitError: a reward failed, or a file could not be written: the last checkpoint stays.
        Stopped: after Ctrl-C, SIGTERM or `should_stop`: the step it was in is finished, and saved.
            A second signal is a KeyboardInterrupt at once.
    """
    require("train", "training a model")
    config = anchored(config)
    precision = torch.get_float32_matmul_precision()
    try:
        with (
            world or World.of_environment() as world,
            Run.open(out, config, resume, world) as run,
        ):
            _train(run, config, resume, device, should_stop or (lambda: False), world)
    finally:
        torch.set_float32_matmul_precision(precision)  # it is the whole process's
    return run


def _train(
    run: Run,
    config: Config,
    resume: bool,
    device: str,
    should_stop: Callable[[], bool],
    world: World,
) -> None:
    world.check(config)
    # Before gigabytes are downloaded.
    model = preview.look(config.model, config.revision, fetch=True)
    preview.check(config, model)
    lines = read(config.prompts)
    held_out = None if config.evaluation.prompts is None else read(config.evaluation.prompts)
    ready.check(config, lines, held_out, model)
    if config.policy.float32_matmul is not None:
        torch.set_float32_matmul_precision(config.policy.float32_matmul)
    # Loaded on the CPU, in the run's dtype: the device never holds more than training needs.
    pipeline = policies.load(config)
    start = None
    if config.policy.init_lora is not None:
        start = take(pipeline, policies.part(pipeline), lora_path(config.policy.init_lora))
        config = start.adopted(config)
    policy = policies.of(pipeline, config, world.device(device), world)
    if model.pipeline in FAMILIES and preview.size_of(config, model) is None:
        size = policy.protocol.height, policy.protocol.width  # which only the pipeline knew
        ready.check_pictures([*lines, *(held_out or ())], model.pipeline, size)
    if start is not None:
        start.put(policy)
    rewards = Rewards(config.reward, str(policy.device), config.scoring)
    trainer = Trainer(config, policy, rewards, lines)
    evaluation = _evaluation(config, trainer)
    teachers = trainer.objective.teachers()
    card = run_card(config, pipeline, rewards, lines, start, teachers)

    state = run.restorable(trainer.state(), config.steps) if resume else None
    done = saved = 0
    if state is not None:
        trainer.restore(state)
        done = saved = int(state["step"])
    world.agree("the number of steps that the run has made", done)
    run.begin(config, card)
    run.log.begin(done)

    with Display(config, run, done) as display, _stop_signals(world) as stopping:
        if done == 0 and evaluation is not None:
            display.evaluated(_evaluate(run, trainer, evaluation, 0))
        while done < config.steps and not world.any(stopping() or should_stop()):
            began = perf_counter()
            figures = trainer.step(done)
            done += 1
            line: dict[str, Any] = {"step": done, **figures.values}
            line |= {f"seconds/{name}": value for name, value in figures.seconds.items()}
            line["seconds/step"] = perf_counter() - began
            run.log.append(line)
            display.stepped(done, line)
            if evaluation is not None and (
                done == config.steps or done % (config.evaluation.every or done + 1) == 0
            ):
                display.evaluated(_evaluate(run, trainer, evaluation, done))
            if done % config.checkpoint.every == 0:
                run.save(done, trainer.state(), config.checkpoint.keep)
                saved = done
        if done > saved:
            run.save(done, trainer.state(), config.checkpoint.keep)
        if done:  # before the first step, nothing is trained
            with trainer.averaged():
                export(policy, run.model, card)
        display.finished(done)
    world.gather(None)  # the first process has written all
    if done < config.steps:
        raise Stopped


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
        else Rewards(settings.rewards, str(policy.device), config.scoring)
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
    with trainer.averaged():
        shown = evaluation.lines[: trainer.config.evaluation.sheet]
        scores, pictures = evaluation(len(shown))
    if run.writes:  # the first process, which has them
        write_sheet(
            run.samples / f"step-{step:06d}.png",
            [picture for picture in pictures[: len(shown)] if picture is not None],
            [
                "\n".join(
                    [
                        one_line(line.prompt),
                        *(f"{name} {values[i]:.3g}" for name, values in scores.items()),
                    ]
                )
                for i, line in enumerate(shown)
            ],
        )
    figures = {"step": step, **summary(scores)}
    run.log.append(figures)
    return figures


@contextmanager
def _stop_signals(world: World) -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM end the run after its current step; a second one ends it at once.

    A terminal sends Ctrl-C to a launcher and to the processes it has started, and the launcher
    passes it on to them: of several processes, two signals within a moment are one.
    """
    began: float | None = None

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal began
        now = monotonic()
        if began is None:
            began = now
        elif world.size == 1 or now - began > _MOMENT:
            raise KeyboardInterrupt

    handled: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        handled = ()  # Python hands signals to the main thread, and sets them there alone
    before = {number: signal.signal(number, stop) for number in handled}
    try:
        yield lambda: began is not None
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not set from Python, and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
