"""Lists of prompts: a file of the user's, or a public one by name, fetched at a pinned place."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.benchmark import Case, PromptSet
from rewardkit.errors import InputError
from rewardkit.media.files import quoted, read_text
from rewardkit.media.prompts import read
from rewardkit.weights.hub import locate
from rewardkit.weights.pins import PinnedFile

# The task of prompts that name none.
_ONE_TASK = "prompts"


class Named(NamedTuple):
    """A public list: where it is, what it is, how many prompts it has, how its file is read."""

    file: PinnedFile
    about: str
    number: int
    read: Callable[[Path], list[tuple[str, str]]]


def _plain(path: Path) -> list[tuple[str, str]]:
    return [(_ONE_TASK, line.prompt) for line in read(path)]


def _parti(path: Path) -> list[tuple[str, str]]:
    # Quotes are part of the prompts there.
    rows = csv.DictReader(io.StringIO(read_text(path)), delimiter="\t", quoting=csv.QUOTE_NONE)
    told = [(row.get("Category"), row.get("Prompt")) for row in rows]
    found = [(_word(task), prompt) for task, prompt in told if task and prompt]
    if len(found) < len(told):
        raise InputError(f"{quoted(path)} is no table with the columns Category and Prompt")
    return found


def _word(text: str) -> str:
    """A text as names of tasks, files and results have it."""
    return re.sub(r"[^\w.-]+", "-", text)


LISTS = {
    "parti": Named(
        PinnedFile(
            name="parti-prompts",
            repo="google-research/parti",
            host="github",
            kind="data",
            files=("PartiPrompts.tsv",),
            revision="5a657978134374ce28973948331b319adef164bd",
            sha256="fab29e41bb512a169b56acab4cf2a41dcb675e285df2efcde6640c7dd3c440eb",
            licence="Apache-2.0",
        ),
        "PartiPrompts, by category (Yu et al. 2022)",
        1632,
        _parti,
    ),
    "pick-a-pic-test": Named(
        PinnedFile(
            name="pick-a-pic-test",
            repo="yifan123/flow_grpo",
            host="github",
            kind="data",
            files=("dataset/pickscore/test.txt",),
            revision="ac4c86e8cae021841f1fde853d340e0db67690dd",
            sha256="d75c025fa451866e70f7e36243f7cdd93095523cb51f5f9651f2ce3236d20262",
            licence="MIT",
        ),
        "prompts of Pick-a-Pic that Flow-GRPO tests on; people wrote them, some are indecent",
        2048,
        _plain,
    ),
    "drawbench": Named(
        PinnedFile(
            name="drawbench",
            repo="zhwang/HPDv2",
            kind="data",
            files=("benchmark/drawbench.json",),
            licence="Apache-2.0",
        ),
        "DrawBench (Saharia et al. 2022), as the HPS v2 benchmark has it",
        200,
        _plain,
    ),
}


def named(source: str) -> tuple[str, Callable[[], PromptSet]]:
    """A short title of a list, and what reads it: one of `LISTS`, else a file."""
    if source in LISTS:
        return source, lambda: fetched(source)
    return _word(Path(source).stem), lambda: from_file(source)


def from_file(source: str) -> PromptSet:
    """The prompts of a file, or of package:NAME/FILE; the key `tag` of a line is its task.

    Raises:
        InputError: it cannot be read, or a line is wrong.
    """
    cases = []
    for index, line in enumerate(read(source)):
        task = line.meta.get("tag", _ONE_TASK)
        if not isinstance(task, str) or not re.fullmatch(r"[\w.-]+", task):
            raise InputError(
                f"{line.where}: the tag {task!r} is not a word, which names a part of a benchmark"
            )
        cases.append(Case(index, task, line.prompt, line.meta))
    return PromptSet(source, cases)


def fetched(name: str) -> PromptSet:
    """A public list.

    Raises:
        WeightsError: it is not on this machine and cannot be downloaded.
        InputError: the file is not as it was when the list was named here.
    """
    one = LISTS[name]
    located = locate(one.file, {})
    cases = [Case(index, *told) for index, told in enumerate(one.read(located.path))]
    check_number(located.path, cases, name, one.number)
    return PromptSet(f"{located.source} at {located.revision or located.sha256}", cases)


def check_number(path: Path, prompts: Sequence[object], name: str, number: int) -> None:
    """Refuses a list that lacks prompts, or has others too.

    Raises:
        InputError: it does.
    """
    if len(prompts) != number:
        raise InputError(
            f"{quoted(path)} has {len(prompts)} prompts, and {name} has {number}: it is another "
            "file, or a part of it"
        )
