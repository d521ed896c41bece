"""The log of a run: metrics.jsonl, and the same figures as TensorBoard events."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from rewardkit.errors import InputError
from rewardkit.records.disk import writing
from rewardkit.records.documents import parse_json
from rewardkit.records.storage import atomic_write

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@final
class Log:
    """The figures of a run, a line per step and one per evaluation.

    Args:
        metrics: metrics.jsonl.
        tensorboard: the folder of events.
        writes: whether this process writes them.
    """

    def __init__(self, metrics: Path, tensorboard: Path, writes: bool = True) -> None:
        self.metrics, self.tensorboard = metrics, tensorboard
        self._writes = writes
        self._events: SummaryWriter | None = None

    def begin(self, steps: int) -> None:
        """Remove the lines of steps after a checkpoint, which are run again.

        Args:
            steps: number of steps in the checkpoint; 0 without a checkpoint, when the evaluation
                before the first step is repeated too.

        Raises:
            InputError: it cannot be written.
        """
        if not self._writes:
            return
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._events = SummaryWriter(str(self.tensorboard), purge_step=steps + bool(steps))
            lines = self.metrics.read_bytes().splitlines() if self.metrics.exists() else []
        except OSError as error:
            raise InputError(
                f"cannot write {error.filename or self.metrics.parent}: {error.strerror}. Move "
                "that file away, and resume the run with --resume"
            ) from error
        kept = [line + b"\n" for line in lines if 0 < steps >= _step_of(line)]
        if lines:
            with atomic_write(self.metrics) as temporary:
                temporary.write_bytes(b"".join(kept))

    def append(self, figures: dict[str, Any]) -> None:
        """Adds one line of figures, "step" among them.

        Raises:
            InputError: it cannot be written.
        """
        if not self._writes:
            return
        assert self._events is not None, "begin comes first"
        line = json.dumps(figures, allow_nan=False) + "\n"
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise InputError(
                f"cannot write {self.metrics}: {error.strerror}. Free some space, and resume the "
                "run with --resume"
            ) from error
        with writing(self.tensorboard):
            for name, value in figures.items():
                if name != "step":
                    self._events.add_scalar(name, value, figures["step"])
            self._events.flush()

    def close(self) -> None:
        """Closes TensorBoard's file."""
        if self._events is not None:
            self._events.close()
            self._events = None


def _step_of(line: bytes) -> float:
    """The step of a line of metrics.jsonl; infinite if the line is incomplete."""
    try:
        step = parse_json(line, "metrics.jsonl")["step"]
    except (ValueError, TypeError, KeyError):
        return math.inf
    return step if isinstance(step, int) else math.inf
