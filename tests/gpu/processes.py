"""Part (d): two processes on one device train as one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from session import Session

ROOT = Path(__file__).parents[2]
STEPS = 2
#: Largest difference of a first gradient's norm, relative to it.
EXACT = 1e-5


def two_equal_one(session: Session) -> None:
    """The built-in model, all weights and a LoRA, by torchrun with two processes and without."""
    for parameters in ("full",) if session.tiny else ("full", "lora"):
        with session.attempt(f"two processes, {parameters}"):
            settings = [f"policy.parameters={parameters}", "sampler.prompts_per_step=2"]
            settings += ["sampler.group_size=6", "sampler.batch_size=4"]
            one, two = (
                _trained(session, number, session.home / f"{parameters}-{number}", settings)
                for number in (1, 2)
            )
            _compare(session, parameters, one, two)


def _trained(session: Session, number: int, out: Path, settings: list[str]) -> Path:
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(number)]
    command = [sys.executable, *(start if number > 1 else []), "-m", "grpo", "train"]
    command += ["--model", "shapes-flow", "--reward", "shapes-graded", "--steps", str(STEPS)]
    command += ["--device", session.device.type, "--out", str(out)]
    for setting in [*settings, "evaluation.samples=2"]:
        command += ["--set", setting]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            _, errors = process.communicate(timeout=150)
        finally:
            with suppress(ProcessLookupError):  # torchrun's own processes, too
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        told = [line for line in errors.splitlines() if line.startswith(("Error", "RuntimeError"))]
        raise RuntimeError(f"{number} processes: {' | '.join(told or errors.splitlines()[-4:])}")
    return out


def _compare(session: Session, name: str, one: Path, two: Path) -> None:
    ours, theirs = (_lines(run)[0] for run in (one, two))
    rewards = [key for key in ours if key.startswith("reward")]
    same = all(ours[key] == theirs[key] for key in rewards)
    session.holds(f"two processes, {name}: the first rewards are equal to the bit", same)
    apart = abs(ours["grad_norm"] / theirs["grad_norm"] - 1)
    session.at_most(f"two processes, {name}: first gradient's norm apart", apart, EXACT)
    weights = [_weights(run) for run in (one, two)]
    furthest = max(float((weights[0][key] - weights[1][key]).abs().max()) for key in weights[0])
    session.measured(f"two processes, {name}: weights apart after {STEPS} steps", furthest, "")
    for label, run in (("one process", one), ("two processes", two)):
        session.measured(f"{label}, {name}: last step", _lines(run)[-1]["seconds/step"], "s")


def _lines(run: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [line for line in read if "grad_norm" in line]


def _weights(run: Path) -> dict[str, torch.Tensor]:
    files = sorted((run / "model").rglob("*.safetensors"))
    return {f"{file.name}/{key}": t for file in files for key, t in load_file(file).items()}
