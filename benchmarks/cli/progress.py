"""What a benchmark shows while it goes: what it will cost, a bar, and the time that is left."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rewardkit.cli.tables import console

if TYPE_CHECKING:
    from rewardkit.engine.items import Progress as Scoring

# The rate is of so many pictures at least, after the first, which waits for what warms up.
_FIRST = 4


@final
class Display:
    """Progress on stderr: a bar on a terminal, else a line with the estimate."""

    def __init__(self) -> None:
        self._console = console(sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
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
        """A line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def phase(self, name: str, steps: int = 0, batch: int = 1) -> None:
        """What comes now; a picture takes `steps` of the sampler, `batch` of them come at once."""
        self._bar.reset(self._task, description=name, total=None)
        self._steps, self._batch = steps, batch
        self._called, self._told = False, False
        self._began: tuple[float, int] | None = None

    def made(self, done: int, total: int) -> None:
        """So many pictures are there: what the rest will cost, before it and after the first."""
        self.done(done, total)
        if not self._called:
            self._called = True
            left, before = total - done, f", {done:,} are there" if done else ""
            self.say(
                f"{left:,} pictures x {self._steps} steps = {left * self._steps:,} steps of the "
                f"sampler{before}"
            )
        elif self._began is None:
            self._began = time.perf_counter(), done
        elif not self._told:
            began, first = self._began
            new = done - first
            # Pictures of one batch come at once: time is told from batch to batch.
            if new >= _FIRST and new % self._batch == 0:
                self._told = True
                seconds = (time.perf_counter() - began) / new * (total - done)
                self.say(f"about {_duration(seconds)} left")

    def done(self, done: int, total: int) -> None:
        """So many of so many."""
        self._bar.update(self._task, completed=done, total=total)

    def scored(self, state: Scoring) -> None:
        """So many pictures are scored."""
        self.done(state.done, state.total)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
