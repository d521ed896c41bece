"""Processes that train together, forked from the test's own so that they start at once."""

import os
import pickle
import socket
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

FSDP = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def together(size: int, work: Callable[[], Any], seconds: float = 120, **environment: str) -> list:
    """What `work` returns in each of `size` processes, with the variables a launcher would set."""
    exits, results = ended(size, work, seconds, **environment)
    assert exits == [0] * size, (exits, results)
    return results


def ended(size: int, work: Callable[[], Any], seconds: float = 120, **environment: str):
    """The exit codes of such processes, and what they returned or printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(rank)) for rank in range(size)]
        pids = []
        for rank, file in enumerate(files):
            sys.stdout.flush()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of threads beside fork
                pid = os.fork()
            if not pid:
                os.environ |= {
                    "RANK": str(rank),
                    "WORLD_SIZE": str(size),
                    "LOCAL_RANK": str(rank),
                    "LOCAL_WORLD_SIZE": str(size),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                    **environment,
                }
                _child(work, file, seconds)
            pids.append(pid)
        exits = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        results = [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]
    return exits, results


def _child(work: Callable[[], Any], file: Path, seconds: float) -> None:
    """Ends the forked process without what pytest would do at the end of one."""
    import signal

    signal.alarm(int(seconds))  # a hang ends, and fails the test
    code = 1
    try:
        file.write_bytes(pickle.dumps(work()))
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        file.write_bytes(pickle.dumps(traceback.format_exc()))
    finally:
        os._exit(code)
