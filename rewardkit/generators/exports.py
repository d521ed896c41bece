"""What a run of `grpo train` has exported: whether it is whole."""

from __future__ import annotations

import shlex
from pathlib import Path

from rewardkit.errors import WeightsError
from rewardkit.generators.protocol import CARD

_MODEL, _CONFIG = "model", "config.json"


def refuse_unfinished(path: Path) -> None:
    """Refuses the folder of a run, or what is in its `model`, where its export is not whole.

    Without its card, nobody could tell what it was trained on.

    Raises:
        WeightsError: saying how to export it.
    """
    for run in (path, *path.absolute().parents[:2]):
        of_run = path == run or path.absolute().is_relative_to(run / _MODEL)
        if of_run and _is_run(run) and not (run / _MODEL / CARD).is_file():
            raise WeightsError(
                f"{run} has not been exported completely: grpo train -o {shlex.quote(str(run))} "
                "--resume"
            )


def _is_run(folder: Path) -> bool:
    return (folder / _CONFIG).is_file() and (folder / CARD).is_file()
