"""What a benchmark shows while it goes: what it will cost, a bar, and the time that is left."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from rewardkit.engine.folder import Progress as Scoring

# The first pictures wait for what is loaded and warmed up; the rate is taken after them.
_FIRST = 4


@final
class Display:
    """Progress on stderr: a bar on a terminal, else a line with the estimate."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)
        self._steps = 0
        self._began: tuple[float, int] | None = None
        self._told = False

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

    def phase(self, name: str, steps: int = 0) -> None:
        """What comes now; `steps` of the sampler make a picture."""
        self._bar.reset(self._task, description=name, total=None)
        self._steps, self._began, self._told = steps, None, False

    def made(self, done: int, total: int) -> None:
        """A picture was made: the first says what all will cost."""
        now = time.perf_counter()
        if self._began is None:
            left = total - done + 1
            self.say(
                f"{left:,} pictures x {self._steps} steps = {left * self._steps:,} model calls"
            )
            self._began = (now, done)
        began, first = self._began
        if not self._told and done - first >= _FIRST:
            self._told = True
            self.say(f"about {_duration((now - began) / (done - first) * (total - done))} left")
        self.done(done, total)

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
