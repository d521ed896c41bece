"""Before and after: the base model and the trained one, same prompts, same seeds, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grpo.evaluation import in_turn, write_sheet
from grpo.run import Run
from rewardkit.errors import UsageError
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.pipelines import Pipeline, generate, load
from rewardkit.generators.protocol import Protocol, carried_protocol
from rewardkit.generators.references import check_shapes, read_references, reference_files
from rewardkit.generators.requests import Request
from rewardkit.media.prompts import PromptLine, read
from rewardkit.media.sheets import one_line

if TYPE_CHECKING:
    from rewardkit.media.batch import Medium


def sample(
    run: Path, *, prompts: str, out: Path, number: int = 8, seed: int = 0, device: str = "auto"
) -> Path:
    """A contact sheet, written to `out`: for each prompt what the base made, then the trained one.

    Beside the sheet of clips is an mp4 of the same name, on which they play.

    Raises:
        UsageError: the folder holds no run, or one that has not been saved yet.
        InputError: a line names no usable picture where the model starts from one.
    """
    folder = Run(run)
    config = folder.read_config()
    if not folder.model.is_dir():
        raise UsageError(f"{run} holds no trained weights yet: resume it with grpo train --resume")
    lines, seeds = in_turn(read(prompts), number, seed)
    protocol = carried_protocol(folder.model)  # the base's own may be of another size
    # One after the other: neither is kept, so that memory holds one of them.
    before = _made(
        load(config.model, device=device, dtype=config.policy.dtype, revision=config.revision),
        lines,
        seeds,
        protocol,
    )
    after = _made(tuned(folder, device), lines, seeds, protocol)
    pairs = [picture for pair in zip(before, after, strict=True) for picture in pair]
    captions = [
        f"{when}\n{one_line(line.prompt)}" for line in lines for when in ("before", "after")
    ]
    write_sheet(out, pairs, captions, columns=6)  # no pair is torn apart
    return out


def _made(
    pipeline: Pipeline,
    lines: Sequence[PromptLine],
    seeds: Sequence[int],
    protocol: Protocol | None,
) -> list[Medium]:
    family, protocol = FAMILIES[type(pipeline.diffusers).__name__], protocol or pipeline.protocol
    files = reference_files(lines, family)
    places = (line.where for line in lines)
    check_shapes(zip(places, files, strict=True), protocol.height, protocol.width)
    requests = [
        Request(line.prompt, seed, read_references(line, family))
        for line, seed in zip(lines, seeds, strict=True)
    ]
    return list(generate(pipeline, requests, protocol=protocol))


def tuned(run: Run, device: str = "auto") -> Pipeline:
    """The pipeline that a run has trained, in the dtype it was trained in."""
    config = run.read_config()
    dtype = config.policy.dtype
    if config.policy.parameters == "full":
        return load(run.model, device=device, dtype=dtype)
    return load(config.model, device=device, dtype=dtype, revision=config.revision, tuned=run.model)
