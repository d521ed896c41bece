"""The options of `rewardkit bench run`, `generate` and `score`, and what they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final

from rewardkit.errors import UsageError
from rewardkit.processes import Processes

if TYPE_CHECKING:
    from benchmarks.benchmark import Benchmark, Suite
    from benchmarks.prompts import PromptSet
    from benchmarks.shard import Shard
    from rewardkit.generators.pipelines import Pipeline
    from rewardkit.generators.protocol import Protocol
    from rewardkit.service import Endpoint

_SAMPLING = (
    "steps", "guidance", "true_guidance", "negative_prompt", "width", "height", "frames", "fps",
    "max_sequence_length",
)  # fmt: skip


class SuitePart(NamedTuple):
    """A benchmark that is run, alone or as part of a suite, with its prompts."""

    benchmark: Benchmark
    prompts: PromptSet


@final
@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """The options of a command; None where one is not given, or the command does not have it."""

    out: Path
    device: str
    prompts: str | None
    samples: int | None
    shard: str | None
    rewards: str | None = None
    name: str | None = None
    weights: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    allow_partial: bool = False
    allow_duplicates: bool = False
    overwrite: bool = False
    as_json: bool = False
    with_base: bool = False
    trained_on: str | None = None
    model: str = ""
    tuned: str | None = None
    revision: str | None = None
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    true_guidance: float | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    fps: float | None = None
    max_sequence_length: int | None = None
    dtype: str | None = None
    batch_size: int | None = None
    processes: Processes = field(default_factory=Processes.of_launcher)

    def parts(self, found: Benchmark | Suite, *, scored: bool = True) -> list[SuitePart]:
        """The benchmarks to run, on the prompts and by the rewards that were chosen.

        Args:
            found: the benchmark or suite that was named.
            scored: whether they will be scored; rewards that the user chooses are needed then.

        Raises:
            UsageError: an option is missing, or does not go with the benchmark.
        """
        from benchmarks.benchmark import Benchmark

        if not isinstance(found, Benchmark):
            if (self.prompts, self.rewards, self.samples) != (None, None, None):
                raise UsageError(f"{found.name} has its own prompts, rewards and samples")
            return [SuitePart(part, part.prompts()) for part in found.parts() if part.prompts]
        benchmark = found.on(self.prompts).with_samples(self.samples)
        benchmark = benchmark.by(self.rewards) if scored else benchmark
        assert benchmark.prompts is not None
        return [SuitePart(benchmark, benchmark.prompts())]

    def shard_of(self, parts: Sequence[SuitePart]) -> Shard:
        """The shard to run, of which every part has a share.

        Raises:
            UsageError: it is not a shard, there are several processes, which are shards already, or
                a part has fewer prompts than there are shards or processes.
        """
        from benchmarks.shard import WHOLE, Shard

        if self.shard is not None and not self.processes.alone:
            raise UsageError(
                f"--shard is given to {self.processes.size} processes, which share the prompts "
                "among them: leave it out, or start one process for each shard"
            )
        shard = WHOLE if self.shard is None else Shard.parse(self.shard)
        for part in parts:
            shard.of(part.prompts.cases)
            self.share_of(shard).of(part.prompts.cases)
        return shard

    def share_of(self, shard: Shard) -> Shard:
        """The part of a shard whose media this process makes: all, unless there are others."""
        from benchmarks.shard import Shard

        processes = self.processes
        return shard if processes.alone else Shard(processes.rank + 1, processes.size)

    def load(self, tuned: str | None) -> Pipeline:
        """The model, with or without what was trained of it."""
        from rewardkit.generators.pipelines import load

        return load(
            self.model,
            device=self.processes.device(self.device),
            dtype=self.dtype,
            revision=self.revision,
            tuned=tuned,
        )

    def protocol(self, pipeline: Pipeline) -> Protocol:
        """The pipeline's own protocol with the values that were given in place of its own."""
        values: dict[str, Any] = {name: getattr(self, name) for name in _SAMPLING}
        return pipeline.protocol.changed(
            {name: value for name, value in values.items() if value is not None}
        )


def title(model: str, tuned: str | None) -> str:
    """The name of a model in tables: its own, and that of what was trained of it."""
    source = model if not Path(model).exists() else Path(model).resolve().name
    if tuned is None:
        return source
    run = Path(tuned).resolve()
    while run.name == "model" or run.suffix == ".safetensors":
        run = run.parent
    return f"{source}+{run.name}"
