"""Part (e): pictures per second of sampling, and what the known ways to speed it up bring."""

from __future__ import annotations

import tiny_pipelines
import torch
from networks import pipeline
from session import Session, free
from torch.nn.attention import SDPBackend, sdpa_kernel

from rewardkit.generators.pipelines import Pipeline, generate


def speed(session: Session) -> None:
    """Stable Diffusion 1.4 as it is, in channels_last, and without fused attention."""
    made = pipeline(session, "sd")
    _measure(session, made, "as it is")
    with session.attempt("without fused attention"), sdpa_kernel(SDPBackend.MATH):
        _measure(session, made, "attention by its formula, without fused SDPA")
    with session.attempt("channels_last"):
        pipe = made.diffusers
        for part in (pipe.unet, pipe.vae):
            part.to(memory_format=torch.channels_last)
        _measure(session, made, "channels_last")


def compiled(session: Session) -> None:
    """Stable Diffusion 1.4 with torch.compile, whose own time is a line, too."""
    made = pipeline(session, "sd")
    made.diffusers.unet.compile(backend="eager" if session.tiny else "inductor")
    free()
    first = session.timed_once(lambda: _sample(session, made))
    session.measured("SD 1.4, torch.compile, first call", first, "s")
    _measure(session, made, "torch.compile")


def _measure(session: Session, made: Pipeline, how: str) -> None:
    number = _number(session)
    with session.memory(f"SD 1.4, {how}, memory"):
        seconds = session.timed(lambda: _sample(session, made), 3)
    steps = made.protocol.steps
    session.measured(f"SD 1.4, {steps} steps, {how}", number / seconds, "pictures/s")


def _number(session: Session) -> int:
    return 2 if session.tiny else 8


def _sample(session: Session, made: Pipeline) -> None:
    number = _number(session)
    requests = tiny_pipelines.requests("a red ring", range(number))
    for _ in generate(made, requests, batch_size=number):
        pass
