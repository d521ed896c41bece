"""What a benchmark shows while it runs: its cost, a progress bar, and the time that is left."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rewardkit.cli.tables import console
from rewardkit.processes import ALONE, Processes

if TYPE_CHECKING:
    from rewardkit.engine.items import Progress as Scoring

# The rate is measured over at least this many files after the first, which has the warm-up.
_FIRST = 4


@final
class ProgressDisplay:
    """Progress on stderr: a bar on a terminal, else a line with the estimate.

    Args:
        processes: those that share the work; only the first shows anything.
    """

    def __init__(self, processes: Processes = ALONE) -> None:
        self._processes = processes
        self._console = console(sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (processes.first and self._console.is_terminal),
        )
        self._task = self._bar.add_task("", total=None)
        self.phase("")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Prints a line."""
        if self._processes.first:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def phase(self, name: str) -> None:
        """Starts a phase with a bar of its own."""
        self._bar.reset(self._task, description=name, total=None)

    def making(self, benchmark: str, media: str, steps: int, batch: int = 1) -> None:
        """Starts the making of media.

        Args:
            benchmark: its name.
            media: "pictures" or "clips".
            steps: number of inference steps of each.
            batch: how many are made at once.
        """
        self.phase(f"{benchmark}: {media}")
        self._media, self._steps, self._batch = media, steps, batch
        self._cost_shown, self._time_shown = False, False
        self._began: tuple[float, int] | None = None

    def made(self, done: int, total: int) -> None:
        """Shows that `done` of `total` are there; the cost before the first, the time after some.

        It is called before the first is made, and after each.
        """
        self.done(done, total)
        if not self._cost_shown:
            self._cost_shown = True
            left, before = total - done, f", {done:,} are there" if done else ""
            size = self._processes.size
            others = "" if self._processes.alone else f" in the first of {size} processes"
            self.say(
                f"{left:,} {self._media} x {self._steps} steps = {left * self._steps:,} inference "
                f"steps{others}{before}"
            )
        elif self._began is None:
            self._began = time.perf_counter(), done
        elif not self._time_shown:
            began, first = self._began
            new = done - first
            # A batch arrives at once, so time is measured from batch to batch.
            if new >= _FIRST and new % self._batch == 0:
                self._time_shown = True
                seconds = (time.perf_counter() - began) / new * (total - done)
                self.say(f"about {_duration(seconds)} left")

    def done(self, done: int, total: int) -> None:
        """Shows that `done` of `total` are done."""
        self._bar.update(self._task, completed=done, total=total)

    def scored(self, state: Scoring) -> None:
        """Shows how many are scored."""
        self.done(state.done, state.total)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
