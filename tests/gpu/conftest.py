"""What tests of true size share: the device, and the one table of what they measured.

Each runs twice: in the default run on the CPU with tiny networks, where it checks shapes, dtypes
and devices; and, marked `gpu`, on a GPU with networks of true size, where it also checks memory.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import full_size
import pytest
import tiny_pipelines
import torch

GIB = 2**30
_figures: list[tuple[str, str, str]] = []


@dataclass
class Bench:
    """Where a test runs, and at what size.

    Attributes:
        device: of the networks.
        full: whether networks have their true size.
        name: of the test, as it stands in the table.
        home: where pipelines are saved.
    """

    device: torch.device
    full: bool
    name: str
    home: Path
    entries: list[tuple[str, str]] = field(default_factory=list)

    def pipeline(self, name: str, dtype: torch.dtype = torch.bfloat16) -> Path:
        """A saved pipeline, "sd" or "sd3": of true size on a GPU, tiny elsewhere; made once."""
        home = self.home / f"{'full' if self.full else 'tiny'}-{dtype}".replace("torch.", "")
        if (home / name).exists():
            return home / name
        if not self.full:
            return tiny_pipelines.saved(name, home, dtype)
        build = {"sd": full_size.sd14, "sd3": full_size.sd35_medium}[name]
        with full_size.built_on(self.device, dtype):
            pipe = build(home / "tokenizer")
        pipe.to("cpu").save_pretrained(home / name)
        del pipe
        free()
        return home / name

    def record(self, figure: str, value: float, unit: str) -> None:
        """A line of the table, printed after the run."""
        self.entries.append((figure, f"{value:.4g} {unit}"))

    @contextmanager
    def peak(self, figure: str) -> Iterator[list[float]]:
        """GiB of GPU memory at the highest inside the block, in the list it gives; recorded."""
        measured: list[float] = []
        if not self.full:
            yield measured
            measured.append(0.0)
            return
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        yield measured
        measured.append(torch.cuda.max_memory_allocated(self.device) / GIB)
        self.record(figure, measured[0], "GiB")

    def allocated(self) -> float:
        """GiB of GPU memory in use now; 0 on the CPU."""
        return torch.cuda.memory_allocated(self.device) / GIB if self.full else 0.0

    @contextmanager
    def seconds(self, figure: str) -> Iterator[None]:
        """Records how long the block took, the device's work included."""
        began = time.perf_counter()
        yield
        if self.full:
            torch.cuda.synchronize(self.device)
            self.record(figure, time.perf_counter() - began, "s")


def free() -> None:
    """Lets go of what nobody holds on the GPU, so that what is measured next is not of it."""
    gc.collect()
    torch.cuda.empty_cache()


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pipelines are saved, for all tests of a session."""
    return tmp_path_factory.mktemp("pipelines")


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.gpu)], ids=["tiny", "full"])
def bench(request: pytest.FixtureRequest, homes: Path) -> Iterator[Bench]:
    """The CPU with tiny networks, or a GPU with those of true size."""
    full: bool = request.param
    if full and not torch.cuda.is_available():
        pytest.fail("no CUDA device: this tier runs on one (make gpu)")
    if full:
        free()
    made = Bench(torch.device("cuda" if full else "cpu"), full, request.node.originalname, homes)
    yield made
    if full:
        _figures.extend((made.name, figure, value) for figure, value in made.entries)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table: what was measured, on which card."""
    if not _figures:
        return
    card = torch.cuda.get_device_properties(0)
    terminalreporter.section(
        f"{card.name}, {card.total_memory / GIB:.0f} GiB, torch {torch.__version__}"
    )
    names = max(len(name) for name, _, _ in _figures)
    kinds = max(len(figure) for _, figure, _ in _figures)
    for name, figure, value in _figures:
        terminalreporter.write_line(f"{name:<{names}}  {figure:<{kinds}}  {value:>14}")
