"""Part (c): training at true size: seconds, memory, share of the peak, what rounding does."""

from __future__ import annotations

import math
from typing import Any

import torch
from networks import trainer
from session import GIB, Session, free
from torch.utils.flop_counter import FlopCounterMode

from grpo.trainer import Trainer


def sd_lora(session: Session) -> None:
    """Stable Diffusion 1.4 at 512 x 512, a LoRA, 16 samples."""
    _steps(session, "SD 1.4 LoRA", "sd", steps=2)


def sd_full(session: Session) -> None:
    """Stable Diffusion 1.4 at 512 x 512, all weights, 16 samples."""
    _steps(session, "SD 1.4 all weights", "sd", policy={"parameters": "full"})
    with session.attempt("float16"):
        _float16(session)


def sd3_lora(session: Session) -> None:
    """Stable Diffusion 3.5 Medium at 512 x 512, a LoRA, 8 samples."""
    few = {"steps": 3, "group_size": 8}
    _steps(session, "SD 3.5 Medium LoRA", "sd3", sampler=few)


def flux_lora(session: Session) -> None:
    """FLUX.1 at 512 x 512, a LoRA, 4 samples."""
    if not _fits(session, "FLUX.1 LoRA", 40):
        return
    few = {"steps": 4, "group_size": 4, "batch_size": 2}
    _steps(session, "FLUX.1 LoRA", "flux", sampler=few)


def hunyuan_lora(session: Session) -> None:
    """HunyuanVideo at DanceGRPO's 480 x 480 and 53 frames, a LoRA, 2 clips."""
    if not _fits(session, "HunyuanVideo LoRA", 64):
        return
    few = {"steps": 3, "group_size": 2, "batch_size": 1}
    offload = {"offload": True} if session.cuda else {}
    _steps(session, "HunyuanVideo LoRA", "hunyuan-video", sampler=few, policy=offload)


def _fits(session: Session, name: str, needed: float) -> bool:
    """Whether so many GiB are free; a line says so where they are not."""
    there = torch.cuda.mem_get_info(session.device)[0] / GIB if session.cuda else needed
    if there < needed:
        session.holds(f"{name} needs {needed:g} GiB, {there:.0f} are free: not run", True)
    return there >= needed


def _steps(session: Session, name: str, model: str, steps: int = 1, **tables: Any) -> None:
    """A step that warms up and is counted, then `steps` that are timed."""
    with session.memory(f"{name}, memory while it is loaded"):
        made = trainer(session, model, **tables)
    before = {key: p.detach().clone() for key, p in made.policy.parameters().items()}
    if session.cuda:
        session.measured(f"{name}, memory once it is loaded", session.allocated(), "GiB")
    with FlopCounterMode(display=False) as counter:
        figures = made.step(0)
    # One update: its ratio is that before any, and what differs from 1 is rounding.
    apart = abs(figures.values["ratio"] - 1)
    session.at_most(f"{name}, ratio before the first update, from 1", apart, 1e-3)
    drift = [value for key, value in figures.values.items() if key.startswith("drift/")]
    session.at_most(f"{name}, largest mean drift of a step", max(drift), 0.05, "nats/dimension")
    recomputed = figures.values.get("log_probs_recomputed", 0.0)
    session.measured(f"{name}, log-probabilities were recomputed", recomputed, "(0 or 1)")
    session.holds(f"{name}, gradient is above 0", figures.values["grad_norm"] > 0, "it is 0")
    session.holds(f"{name}, weights moved and are finite", _moved(made, before), "they are not")
    del before
    free()

    took: dict[str, float] = {}
    with session.memory(f"{name}, memory in a step") as highest:
        for index in range(1, steps + 1):
            session.synchronize()
            for phase, seconds in made.step(index).seconds.items():
                took[phase] = min(took.get(phase, math.inf), seconds)
    for phase, seconds in took.items():
        session.measured(f"{name}, {phase}", seconds, "s")
    whole = sum(took.values())
    samples = made.config.sampler.group_size
    session.measured(f"{name}, samples trained on", samples / whole, "samples/s")
    session.share_of_peak(f"{name}, step", counter.get_total_flops(), whole)
    _estimated(session, name, made, highest[0])


def _estimated(session: Session, name: str, made: Trainer, highest: float) -> None:
    """What a dry run says of the memory, beside what was taken."""
    from grpo import memory

    pipeline = made.policy.pipeline
    estimate = memory.of(made.config, pipeline, session.device, made.prompts[0])
    predicted = estimate.device_peak / GIB
    session.measured(f"{name}, memory in a step as estimated", predicted, "GiB")
    if session.cuda:
        error = 100 * abs(predicted / highest - 1)
        session.at_most(f"{name}, error of the estimate", error, 15, "%")


def _float16(session: Session) -> None:
    """In float16 losses are scaled, and updates that overflow are left out."""
    small = {"steps": 4, "group_size": 4, "batch_size": 2}
    made = trainer(session, "sd", policy={"dtype": "float16"}, sampler=small)
    before = {key: p.detach().clone() for key, p in made.policy.parameters().items()}
    skipped = sum(made.step(index).values["updates_skipped"] for index in range(3))
    session.holds("float16, weights moved and are finite", _moved(made, before), "they are not")
    session.measured("float16, updates left out of 3 while the scale settles", skipped, "")


def _moved(made: Trainer, before: dict[str, torch.Tensor]) -> bool:
    after = made.policy.parameters()
    finite = all(bool(p.isfinite().all()) for p in after.values())
    return finite and any(not torch.equal(p, before[key]) for key, p in after.items())
