"""Lists of prompts: a file of the user's, or a public one by name, fetched at a pinned place."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.benchmark import Case, PromptSet
from rewardkit.errors import InputError
from rewardkit.media.files import quoted, read_text
from rewardkit.media.prompts import read
from rewardkit.models.hub import Weights, locate

# The task of prompts that name none.
_ONE_TASK = "prompts"


class Named(NamedTuple):
    """A public list: where it is, what it is, how many prompts it has, how its file is read."""

    file: Weights
    about: str
    number: int
    lines: Callable[[Path], Iterator[tuple[str, str]]]


def _text(path: Path) -> Iterator[tuple[str, str]]:
    for line in read_text(path).splitlines():
        if line.strip():
            yield _ONE_TASK, line.strip()


def _parti(path: Path) -> Iterator[tuple[str, str]]:
    # Quotes are part of the prompts there.
    rows = csv.DictReader(io.StringIO(read_text(path)), delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in rows:
        yield row["Category"], row["Prompt"]


def _json(path: Path) -> Iterator[tuple[str, str]]:
    for prompt in json.loads(read_text(path)):
        yield _ONE_TASK, prompt


LISTS = {
    "parti": Named(
        Weights(
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
        Weights(
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
        _text,
    ),
    "drawbench": Named(
        Weights(
            name="drawbench",
            repo="zhwang/HPDv2",
            kind="data",
            files=("benchmark/drawbench.json",),
            licence="Apache-2.0",
        ),
        "DrawBench (Saharia et al. 2022), as the HPS v2 benchmark has it",
        200,
        _json,
    ),
}


def named(source: str) -> tuple[str, Callable[[], PromptSet]]:
    """A short title of a list, and what reads it: one of `LISTS`, else a file."""
    if source in LISTS:
        return source, lambda: fetched(source)
    title = re.sub(r"[^\w.-]+", "-", Path(source).stem)
    return title, lambda: from_file(source)


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
    cases = [
        Case(index, re.sub(r"[^\w.-]+", "-", task), prompt)
        for index, (task, prompt) in enumerate(one.lines(located.path))
    ]
    if len(cases) != one.number:
        raise InputError(
            f"{quoted(located.path)} has {len(cases)} prompts; {name} has {one.number}. Delete it "
            "to download it again"
        )
    return PromptSet(f"{located.source} at {located.revision or located.sha256}", cases)
