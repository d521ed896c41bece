"""Measures and checks on a device all that is claimed of one: `make gpu`, or

    PYTHONPATH=.:tests python tests/gpu --device cuda

Needs no network and no checkpoint: networks have random weights. Prints a line for each figure and
writes them as JSON. A part that fails is a failing line, and exit code 1 at the end; a part for
which no time is left is a line that says so. `--device cpu --tiny` rehearses all of it.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import agreement
import clips
import generation
import placement
import processes
import scoring
import torch
import training
from session import Session, machine

ROOT = Path(__file__).parents[2]
Part = tuple[str, Callable[[Session], None], float]
#: The most important first; with the seconds that each is expected to take on a card with 80 GB.
PARTS: tuple[Part, ...] = (
    ("card", scoring.peak, 5),
    ("rewards", agreement.tiny_rewards, 20),
    ("policies", agreement.tiny_policies_agree, 15),
    ("encoders", agreement.full_rewards, 30),
    ("SD LoRA", training.sd_lora, 50),
    ("scoring", scoring.throughput, 50),
    ("VideoAlign", clips.throughput, 30),
    ("placement", placement.checks, 25),
    ("processes", processes.two_equal_one, 50),
    ("SD full", training.sd_full, 35),
    ("SD3.5 LoRA", training.sd3_lora, 40),
    ("HunyuanVideo", training.hunyuan_lora, 120),
    ("generation", generation.speed, 60),
    ("FLUX LoRA", training.flux_lora, 60),
    ("pictures", agreement.builtin_pictures, 10),
    ("compiled", generation.compiled, 60),
)


def main() -> int:
    """Runs the parts; 1 where a line failed."""
    parser = argparse.ArgumentParser(prog="tests/gpu", description="Measure a device.")
    parser.add_argument("--device", default="cuda", help="device of the networks")
    parser.add_argument("--tiny", action="store_true", help="rehearse with tiny networks")
    parser.add_argument("--minutes", type=float, default=8.0, help="minutes for the whole run")
    parser.add_argument("--only", metavar="PARTS", help="parts to run, separated by commas")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="JSON file to write")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --device cpu --tiny rehearses the script")
    if not asked.tiny and device.type != "cuda":
        parser.error("networks of true size need a CUDA device; give --tiny for any other")
    names = [name for name, *_ in PARTS]
    wanted = [name.strip() for name in asked.only.split(",")] if asked.only else names
    if unknown := [name for name in wanted if name not in names]:
        parser.error(f"there is no part {unknown[0]!r}; the parts are {', '.join(names)}")
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    card = machine(device)["card"]
    plain = re.sub(r"[^a-z0-9]+", "-", str(card["name"]).casefold()).strip("-")
    out = asked.out or ROOT / "docs" / "gpu" / f"{plain}.json"
    print(f"{card}, torch {torch.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as home:
        session = Session(device, asked.tiny, Path(home), asked.minutes * 60)
        for name, work, needed in PARTS:
            if name in wanted:
                session.run(name, work, needed)
                session.write(out)
    number, failed = len(session.lines), len(session.failed)
    left_out = sum(line.status == "not run" for line in session.lines)
    print(f"{number} lines, {failed} failed, {left_out} not run for lack of time; wrote {out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
