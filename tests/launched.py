"""Processes of one job, started as torchrun starts them, without torchrun's own import of torch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rewardkit.processes import AnotherProcessFailed, Processes


def environment() -> dict[str, str]:
    """The environment of a process that is alone; one thread, as torchrun gives to each process."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    own = {name: value for name, value in os.environ.items() if name not in names}
    return own | {"OMP_NUM_THREADS": "1"}


def start(module: str, arguments: Sequence[str], size: int, cwd: Path) -> list[subprocess.Popen]:
    """Starts `python -m module arguments` as `size` processes of one job."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    started = []
    for rank in range(size):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=cwd,
                env=environment() | place,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def ends(processes: Sequence[subprocess.Popen]) -> list[tuple[str, str]]:
    """What processes have printed on stdout and stderr when they have ended; none may hang."""
    try:
        return [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()


def torchrun(module: str, arguments: Sequence[str], size: int, cwd: Path) -> subprocess.Popen:
    """Starts the same by torchrun, in a group of processes of its own."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(size)]
    command += ["--master_port", "0", "--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0"]
    return subprocess.Popen(
        [*command, "-m", module, *arguments],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets processes run one after another in this one, the first as the last.

    The others end with `AnotherProcessFailed` when they wait for the first to finish the table.
    """
    counts: dict[Processes, int] = {}

    def share(processes, make):
        if processes.first:
            return make()
        counts[processes] = counts.get(processes, 0) + 1
        if counts[processes] % 3 == 1:  # the items
            return make()
        if counts[processes] % 3 == 2:  # that the first has opened the output
            return None
        raise AnotherProcessFailed

    monkeypatch.setattr(Processes, "share", share)
