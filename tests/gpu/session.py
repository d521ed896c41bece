"""What one run of the script has measured so far, on which machine, and how much time is left."""

from __future__ import annotations

import gc
import json
import platform
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch

GIB = 2**30
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "open_clip_torch", "numpy")
Status = Literal["passed", "failed", "measured", "not run"]


class OutOfTime(Exception):
    """A part took longer than it may."""


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Attributes:
        part: the part of the script.
        name: what was measured or checked.
        status: "measured" has no limit that it could break.
        value: None where there is none.
        unit: of the value and of the limit.
        limit: what the value is compared with, such as "at most 0.0001".
        reason: why it failed, or was not run.
    """

    part: str
    name: str
    status: Status
    value: float | None = None
    unit: str = ""
    limit: str = ""
    reason: str = ""


@dataclass
class Session:
    """One run of the script.

    Attributes:
        device: of the networks.
        tiny: whether networks are tiny ones: a rehearsal, whose times and sizes mean nothing.
        home: a folder for files.
        budget: seconds for the whole run.
        lines: what was measured.
        seconds: how long each part took.
        peak: matrix products of the device in bfloat16, FLOP/s, once it is measured.
    """

    device: torch.device
    tiny: bool
    home: Path
    budget: float
    lines: list[Line] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    peak: float | None = None
    part: str = ""
    _began: float = field(default_factory=time.perf_counter)
    _until: float = float("inf")

    @property
    def cuda(self) -> bool:
        """Whether the device counts its memory."""
        return self.device.type == "cuda"

    @property
    def left(self) -> float:
        """Seconds left to the whole run."""
        return self.budget - (time.perf_counter() - self._began)

    def measured(self, name: str, value: float, unit: str) -> None:
        """Adds a figure."""
        self._add(Line(self.part, name, "measured", float(value), unit))

    def at_most(self, name: str, value: float, limit: float, unit: str = "") -> None:
        """Adds a figure that fails above a limit, or where it is not a number."""
        status: Status = "passed" if value <= limit else "failed"
        self._add(Line(self.part, name, status, float(value), unit, f"at most {limit:g}"))

    def holds(self, name: str, claim: bool, otherwise: str = "") -> None:
        """Adds a claim that is true or fails."""
        status: Status = "passed" if claim else "failed"
        self._add(Line(self.part, name, status, reason="" if claim else otherwise))

    def share_of_peak(self, name: str, flops: float, seconds: float) -> None:
        """Adds operations per second as a share of the device's measured peak."""
        if self.peak is not None:
            self.measured(name, 100 * flops / seconds / self.peak, "% of bfloat16 peak")

    def run(self, part: str, work: Callable[[Session], None], needed: float) -> None:
        """Runs a part: what it raises is a failing line, and a lack of time one that says so.

        Args:
            part: its name.
            work: the part.
            needed: seconds that it takes on a card with 80 GB; it is stopped after three times it.
        """
        self.part = part
        if needed > self.left:
            self._add(
                Line(
                    part, "all", "not run",
                    reason=f"out of time: it needs {needed:.0f} s, and {self.left:.0f} s are left",
                )
            )  # fmt: skip
            return
        began = time.perf_counter()
        self._until = began + needed
        # A rehearsal may run on a slow and busy machine.
        most = 300.0 if self.tiny else min(3 * needed, self.left + needed)
        try:
            with _alarm(most):
                work(self)
        except Exception as error:
            self._add(Line(part, "all", "failed", reason=_reason(error)))
        finally:
            self.seconds[part] = time.perf_counter() - began
            self._until = float("inf")
            free()

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Turns an error inside the block into a failing line; the part goes on."""
        try:
            yield
        except OutOfTime:
            raise
        except Exception as error:
            self._add(Line(self.part, name, "failed", reason=_reason(error)))
        finally:
            free()

    def synchronize(self) -> None:
        """Waits for the device."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def timed(self, work: Callable[[], object], repeats: int = 5) -> float:
        """Median seconds of `work`, after a first call that warms up.

        It is repeated as long as the part has time by what the first call took, at least once.
        """
        times: list[float] = []
        for _ in range(repeats + 1):
            times.append(self.timed_once(work))
            if len(times) > 1 and time.perf_counter() + times[-1] > self._until:
                break
        return statistics.median(times[1:])

    def timed_once(self, work: Callable[[], object]) -> float:
        """Seconds of `work`."""
        began = time.perf_counter()
        work()
        self.synchronize()
        return time.perf_counter() - began

    def allocated(self) -> float:
        """GiB of the device's memory in use now; 0 where it does not count."""
        return torch.cuda.memory_allocated(self.device) / GIB if self.cuda else 0.0

    @contextmanager
    def memory(self, name: str) -> Iterator[list[float]]:
        """GiB of the device's memory at the highest inside the block, in the list it gives."""
        highest: list[float] = []
        if self.cuda:
            self.synchronize()
            torch.cuda.reset_peak_memory_stats(self.device)
        yield highest
        highest.append(torch.cuda.max_memory_allocated(self.device) / GIB if self.cuda else 0.0)
        if self.cuda:
            self.measured(name, highest[0], "GiB")

    @property
    def failed(self) -> list[Line]:
        """The failing lines."""
        return [line for line in self.lines if line.status == "failed"]

    def write(self, path: Path) -> None:
        """Writes what is known so far as JSON."""
        content = {
            "schema": 1,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "tiny": self.tiny,
            **machine(self.device),
            "seconds": {part: round(seconds, 2) for part, seconds in self.seconds.items()},
            "lines": [asdict(line) for line in self.lines],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")

    def _add(self, line: Line) -> None:
        if line.value is not None and not abs(line.value) < float("inf"):  # JSON has no such number
            reason = f"the value is {line.value}"
            line = Line(line.part, line.name, "failed", None, line.unit, line.limit, reason)
        self.lines.append(line)
        print(text(line), flush=True)


def text(line: Line) -> str:
    """A line of the table as it is printed."""
    value = "" if line.value is None else f"{line.value:.4g} {line.unit}".strip()
    remark = " ".join(filter(None, (line.limit and f"({line.limit})", line.reason)))
    return f"{line.status:<9} {line.part:<12} {line.name:<58} {value:>26}  {remark}".rstrip()


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def machine(device: torch.device) -> dict[str, Any]:
    """The card, and the versions of what ran on it."""
    card: dict[str, Any] = {"name": platform.processor() or platform.machine()}
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        card = {
            "name": found.name,
            "memory_gib": round(found.total_memory / GIB, 1),
            "capability": f"{found.major}.{found.minor}",
            "cuda": torch.version.cuda,
            "number": torch.cuda.device_count(),
        }
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {"device": device.type, "card": card, "versions": versions}


def free() -> None:
    """Lets go of what nobody holds on the device, so that it does not count for what follows."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises `OutOfTime` in the block after so many seconds."""

    def ring(number: int, frame: object) -> None:
        raise OutOfTime(f"stopped after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
