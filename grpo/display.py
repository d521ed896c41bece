"""The progress of a run: a moving line on a terminal, elsewhere a line per step."""

from __future__ import annotations

import shlex
import sys
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from grpo.config.fields import Config
from grpo.run import Run
from rewardkit.cli.tables import console


def stopped(folder: Path, done: int, steps: int) -> str:
    """The last saved step of a stopped run, and the command that resumes it."""
    saved = f"saved after step {done} of {steps}" if done else "no step is saved"
    again = "Resume with" if done else "Start again with"
    return f"Stopped: {saved}. {again}: grpo train --out {shlex.quote(str(folder))} --resume"


# A trend compares the mean of the last steps with that of as many before.
_TREND = 5


@final
class Display:
    """Progress on stderr: step, rewards with their trend, seconds per phase, time left."""

    def __init__(self, config: Config, run: Run, done: int) -> None:
        self._config, self._run, self._done = config, run, done
        self._console = console(sys.stderr)
        self._console.quiet = not run.writes
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (run.writes and self._console.is_terminal),
        )
        self._task = self._bar.add_task("", total=config.steps, completed=done, text="")
        self._past: dict[str, deque[float]] = {}

    def __enter__(self) -> Self:
        if self._done:
            self._say(f"resuming from step {self._done} of {self._config.steps}")
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def stepped(self, done: int, line: dict[str, Any]) -> None:
        """A training step is over."""
        parts = [
            f"{name.removeprefix('reward/')} {value:.4g}{self._trend(name, value)}"
            for name, value in line.items()
            if name.startswith("reward/")
        ]
        phases = [
            f"{name.removeprefix('seconds/')} {value:.1f}s"
            for name, value in line.items()
            if name.startswith("seconds/") and name != "seconds/step"
        ]
        flat = line.get("groups_dropped") == self._config.sampler.prompts_per_step
        remark = ["no gradient: all rewards of each group are equal"] if flat else []
        text = "  ".join([*parts, *phases, *remark])
        self._bar.update(self._task, completed=done, text=text)
        if self._bar.disable:
            self._say(f"step {done}/{self._config.steps}  {text}")

    def evaluated(self, figures: dict[str, Any]) -> None:
        """Held-out prompts were scored."""
        parts = [
            f"{name.removeprefix('eval/')} {value:.4g} ± {figures['eval_error/' + name[5:]]:.2g}"
            for name, value in figures.items()
            if name.startswith("eval/")
        ]
        self._say(f"held out, step {figures['step']}: {'  '.join(parts)}")

    def finished(self, done: int) -> None:
        """The run is over, or was stopped."""
        if done < self._config.steps:
            self._say(stopped(self._run.folder, done, self._config.steps))
        else:
            self._say(f"done: {shlex.quote(str(self._run.model))}")

    def _say(self, line: str) -> None:
        # Not wrapped: in a file a line is one step, and commands will be copied.
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _trend(self, name: str, value: float) -> str:
        past = self._past.setdefault(name, deque(maxlen=2 * _TREND))
        past.append(value)
        if len(past) < 2 * _TREND:
            return ""
        before, after = (sum(list(past)[i : i + _TREND]) for i in (0, _TREND))
        return "↗" if after > before else "↘"
