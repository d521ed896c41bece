"""Before and after: the base model and the trained one, same prompts, same seeds, side by side."""

from __future__ import annotations

from pathlib import Path

from grpo.evaluation import in_turn, write_sheet
from grpo.run import Run
from rewardkit.errors import UsageError
from rewardkit.generators.pipelines import Pipeline, generate, load
from rewardkit.generators.requests import Request
from rewardkit.media.prompts import read
from rewardkit.media.sheets import one_line


def sample(
    run: Path, *, prompts: str, out: Path, number: int = 8, seed: int = 0, device: str = "auto"
) -> Path:
    """A contact sheet, written to `out`: for each prompt what the base made, then the trained one.

    Raises:
        UsageError: the folder holds no run, or one that has not been saved yet.
    """
    folder = Run(run)
    config = folder.read_config()
    if not folder.model.is_dir():
        raise UsageError(f"{run} holds no trained weights yet: resume it with grpo train --resume")
    lines, seeds = in_turn(read(prompts), number, seed)
    requests = [Request(line.prompt, seed) for line, seed in zip(lines, seeds, strict=True)]
    dtype, revision = config.policy.dtype, config.revision
    # One after the other: neither is kept, so that memory holds one of them.
    before = list(generate(load(config.model, device=device, dtype=dtype, revision=revision),
                           requests))  # fmt: skip
    after = list(generate(tuned(folder, device), requests))
    pairs = [picture for pair in zip(before, after, strict=True) for picture in pair]
    captions = [
        f"{when}\n{one_line(line.prompt)}" for line in lines for when in ("before", "after")
    ]
    write_sheet(out, pairs, captions, columns=6)  # no pair is torn apart
    return out


def tuned(run: Run, device: str = "auto") -> Pipeline:
    """The pipeline that a run has trained, in the dtype it was trained in."""
    config = run.read_config()
    dtype = config.policy.dtype
    if config.policy.parameters == "full":
        return load(run.model, device=device, dtype=dtype)
    return load(config.model, device=device, dtype=dtype, revision=config.revision, tuned=run.model)
