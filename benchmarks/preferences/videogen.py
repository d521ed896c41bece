"""VideoGen-RewardBench: pairs of clips in a table, with a label for each of four questions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from benchmarks.preferences.annotations import Local
from benchmarks.preferences.question import PreferenceSet, Question
from rewardkit.errors import InputError
from rewardkit.media.files import quoted
from rewardkit.media.tables import TableRow, read_table
from rewardkit.weights.hub import locate
from rewardkit.weights.pins import PinnedFile

TABLE = PinnedFile(
    name="videogen-rewardbench",
    repo="KwaiVGI/VideoGen-RewardBench",
    kind="data",
    files=("videogen-rewardbench.csv",),
    licence="Apache-2.0",
)
# The ranking of the clips A and B that a label means.
_RANKINGS: Mapping[str, tuple[float, float]] = {"A": (1, 2), "B": (2, 1), "same": (1, 1)}


def read_videogen(name: str, local: Local, *, column: str) -> PreferenceSet:
    """Reads the answers to one question: which clip is better, overall or in one respect.

    A pair without a label in the column is left out.

    Args:
        name: the name of the set.
        local: where its files are on this machine.
        column: of the labels.

    Raises:
        WeightsError: the table is not on this machine and cannot be downloaded.
        InputError: it is not the published table.

    Source: https://github.com/KwaiVGI/VideoAlign, eval_videogen_rewardbench.py. The table of
    clips that VideoAlign is trained on has the same form.
    """
    own = local.annotations
    located = locate(TABLE, {} if own is None else {TABLE.name: own})
    rows = read_table(located.path)
    questions = [question for row in rows if (question := _question(row, column)) is not None]
    if not questions:
        raise InputError(f"{quoted(located.path)} has no label in the column {column}")
    return PreferenceSet(
        name=name,
        source=f"{located.source} at {located.revision or located.sha256}",
        folder=local.media,
        questions=questions,
        kind="video",
    )


def _question(row: TableRow, column: str) -> Question | None:
    """The pair of a row; None where it has no label."""
    prompt, first, second = (row.text(key) for key in ("prompt", "path_A", "path_B"))
    if prompt is None or first is None or second is None:
        raise InputError(
            f"{row.where}: a row has a prompt, path_A and path_B; this one has "
            f"{', '.join(row.values)}"
        )
    label = (row.text(column) or "").strip()
    if not label:
        return None
    if label not in _RANKINGS:
        raise InputError(f"{row.where}: {column} is A, B or same; given: {label!r}")
    # "./videos/a.mp4" and "videos/a.mp4" are one clip.
    paths = PurePosixPath(first), PurePosixPath(second)
    for path in paths:
        if path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"{row.where}: paths of clips are relative and stay below the folder of --media; "
                f"given: {quoted(path)}"
            )
    return Question(prompt, (str(paths[0]), str(paths[1])), _RANKINGS[label])
