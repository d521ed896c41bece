"""Trains a named checkpoint and writes its card, or checks the loss that a card records."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from rewardkit.generators.protocol import CARD
from rewardkit.records.provenance import versions
from rewardkit.records.storage import write_json
from rewardkit.shapes.train.loop import LOG_EVERY, Training, train

WEIGHTS = Path(__file__).parents[1] / "weights"
NAMES = (
    "shapes-vae",
    "shapes-flow",
    "shapes-sd",
    "shapes-clip",
    "shapes-video-vae",
    "shapes-video",
    "shapes-i2v",
)
# Number of held-out samples that a model is evaluated on, each task equally often.
SAMPLES = 720
# Processors round differently, which shows while the loss still falls fast: two of them differ by
# up to 6 %.
_CHECK_TOLERANCE = 0.15


def make(
    name: str, seed: int, steps: int | None, out: Path, run: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train `name` into `out/name` and return its card, which is saved beside the weights."""
    training = _start(name, out, seed)
    if steps is not None:
        training.schedule = replace(training.schedule, steps=steps)
    modules, log = train(training, seed, run, training.schedule.steps, say)
    modules.eval()
    reached = training.evaluate(modules, SAMPLES)
    training.save(modules, out / name)
    card = {
        "name": name,
        "command": f"python -m rewardkit.shapes.train {name}"
        + (f" --seed {seed}" if seed else "")
        + (f" --steps {steps}" if steps else ""),
        "data": training.data,
        "seed": seed,
        "schedule": asdict(training.schedule),
        "parameters": sum(p.numel() for p in modules.parameters()),
        "samples": SAMPLES,
        "reached": reached,
        "seconds": log[-1]["seconds"],
        "versions": versions(),
        "curve": log,
    }
    if training.protocol is not None:
        card["protocol"] = training.protocol.model_dump()
    write_json(out / name / CARD, card)
    return card


def check(name: str, out: Path, say: Callable[[str], None]) -> int:
    """0 if the first steps of a new training reach the loss that the card records, else 1."""
    card = json.loads((out / name / CARD).read_text("utf-8"))
    recorded = {line["step"]: line["loss"] for line in card["curve"]}
    training = _start(name, out, card["seed"])
    with tempfile.TemporaryDirectory() as run:
        _, log = train(training, card["seed"], Path(run), training.checked, say)
    errors = {line["step"]: abs(line["loss"] / recorded[line["step"]] - 1) for line in log}
    far = [line for line in log if errors[line["step"]] > _CHECK_TOLERANCE]
    for line in far:
        say(f"step {line['step']}: loss {line['loss']:.4f}, recorded {recorded[line['step']]:.4f}")
    assert len(log) == training.checked // LOG_EVERY
    return 1 if far else 0


def _start(name: str, out: Path, seed: int) -> Training:
    torch.manual_seed(seed)  # the initial weights
    if name == "shapes-vae":
        from rewardkit.shapes.train.autoencoder import Autoencoder

        return Autoencoder()
    if name == "shapes-clip":
        from rewardkit.shapes.train.clip import ClipTraining

        return ClipTraining()
    if name == "shapes-video-vae":
        from rewardkit.shapes.train.video_autoencoder import VideoAutoencoder

        return VideoAutoencoder()
    if name in ("shapes-video", "shapes-i2v"):
        from rewardkit.shapes.train.video import FirstFrameTraining, VideoTraining

        return {"shapes-video": VideoTraining, "shapes-i2v": FirstFrameTraining}[name](
            out / "shapes-video-vae", seed
        )
    from rewardkit.shapes.train.scene_latents import SceneLatents

    if name == "shapes-flow":
        from rewardkit.shapes.train.flow import FlowTraining

        return FlowTraining(SceneLatents(out / "shapes-vae", seed))
    from rewardkit.shapes.train.diffusion import Diffusion

    return Diffusion(SceneLatents(out / "shapes-vae", seed))
