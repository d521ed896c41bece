"""The command that makes a result, from what the result says of itself."""

from __future__ import annotations

import shlex
from typing import Any

from benchmarks.benchmark import Benchmark, catalogue
from benchmarks.lists import LISTS
from benchmarks.results import Result

_SAMPLING = (
    "steps", "guidance", "true_guidance", "negative_prompt", "width", "height", "frames", "fps",
    "max_sequence_length",
)  # fmt: skip


def command(result: Result) -> tuple[str, ...]:
    """`rewardkit bench run ...` of a model, or `rewardkit bench score ...` of media made elsewhere.

    Returns:
        The command, then each option with its value; joined by spaces, a shell runs it. Paths are
        those of the machine that made the result.
    """
    benchmark, _, title = result.benchmark.name.partition("/")
    model, protocol = result.model, result.protocol
    options: dict[str, Any] = {}
    if title:
        # What a public list says of its source is for people; it is asked for by its name.
        options["prompts"] = title if title in LISTS else result.prompts.source
        known = catalogue().get(benchmark)
        if not (isinstance(known, Benchmark) and known.rewards):
            options["reward"] = "+".join(
                name for name in result.metrics if not result.benchmark.is_total(name)
            )
    source = model.alias or model.source
    made = result.media.made_here and source is not None
    if made:
        sampling = protocol.sampling or {}
        options |= {"model": source, "tuned": model.lora}
        # An alias without one means its pinned commit, which another version may have moved.
        options["revision"] = model.revision
        options |= {"seed": protocol.seed, **{name: sampling.get(name) for name in _SAMPLING}}
        options |= {"dtype": protocol.dtype, "batch_size": protocol.batch}
    else:
        trained = (model.trained_on or {}).get("reward")
        options |= {"media": result.media.folder, "trained-on": trained}
    if not made or model.name != source:
        options["name"] = model.name
    options |= {"samples": protocol.samples, "shard": result.shard}
    parts = [["rewardkit", "bench", "run" if made else "score", benchmark]]
    for name, value in options.items():
        if value is not None:
            parts.append([f"--{name.replace('_', '-')}", str(value)])
    if not result.complete and result.shard is None:
        parts.append(["--allow-partial"])
    return tuple(map(shlex.join, parts))
