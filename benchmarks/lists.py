"""Lists of prompts: a file of the user's, or a public list at a pinned commit."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.prompts import Case, PromptSet
from rewardkit.errors import InputError, UsageError
from rewardkit.generators.references import task_files
from rewardkit.media.files import quoted, read_text
from rewardkit.media.prompts import read
from rewardkit.media.task import Task, starts_from_picture
from rewardkit.weights.hub import locate
from rewardkit.weights.pins import PinnedFile

# The tag of prompts that have none.
_UNTAGGED = "prompts"


class PublicList(NamedTuple):
    """A public list: its file, what it is, how many prompts it has, and how its file is read.

    `read` gives the tag and the text of each prompt.
    """

    file: PinnedFile
    about: str
    number: int
    read: Callable[[Path], list[tuple[str, str]]]


def _plain(path: Path) -> list[tuple[str, str]]:
    return [(_UNTAGGED, line.prompt) for line in read(path)]


def _parti(path: Path) -> list[tuple[str, str]]:
    # Quotes are part of the prompts there.
    rows = csv.DictReader(io.StringIO(read_text(path)), delimiter="\t", quoting=csv.QUOTE_NONE)
    cells = [(row.get("Category"), row.get("Prompt")) for row in rows]
    prompts = [(_word(category), prompt) for category, prompt in cells if category and prompt]
    if len(prompts) < len(cells):
        raise InputError(f"{quoted(path)} is not a table with the columns Category and Prompt")
    return prompts


def _word(text: str) -> str:
    """A text as tags and names of files and results have it."""
    return re.sub(r"[^\w.-]+", "-", text)


def _captions(path: Path) -> list[tuple[str, str]]:
    return [(_UNTAGGED, line.prompt) for line in read(path, "prompt_en")]


#: VBench's prompts, with the dimensions that each one serves.
VBENCH = PinnedFile(
    name="vbench-prompts",
    repo="Vchitect/VBench",
    host="github",
    kind="data",
    files=("vbench/VBench_full_info.json",),
    revision="45e79ec14e69a2187202c675d2dbce1a71843d53",
    sha256="5dd2de80ee43cda750b2b72ea7023657c0b90d3702041c7e4608c65dbe50dccd",
    licence="Apache-2.0",
)
LISTS = {
    "parti": PublicList(
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
    "pick-a-pic-test": PublicList(
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
        "prompts of Pick-a-Pic that Flow-GRPO tests on; written by people, some of them indecent",
        2048,
        _plain,
    ),
    "drawbench": PublicList(
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
    "ta-hard": PublicList(
        PinnedFile(
            name="ta-hard",
            repo="KwaiVGI/VideoAlign",
            host="github",
            kind="data",
            files=("datasets/video_eval_prompts/TA_hard.csv",),
            revision="219ab9db64c045e5181a2202d11f686439351292",
            sha256="5d8974121b4535a94eb5857b60c473d889d75060c0006617b5316020d1840a84",
            licence="MIT",
        ),
        "TA-Hard: prompts of clips that are hard to follow (Liu et al. 2025)",
        72,
        _plain,
    ),
    "vbench": PublicList(
        VBENCH,
        "VBench's prompts of clips, of all its dimensions (Huang et al. 2023)",
        946,
        _captions,
    ),
}


def prompt_list(source: str, task: Task = "text-to-image") -> tuple[str, Callable[[], PromptSet]]:
    """A short title of a list, and what reads it: one of `LISTS`, else a file.

    Raises:
        UsageError: the task starts from a picture, and a public list has none.
    """
    if source in LISTS:
        if starts_from_picture(task):
            raise UsageError(
                f"{source} is a list of texts, and {task} starts from pictures. Give a file whose "
                "lines name them under the key 'image'"
            )
        return source, lambda: from_public_list(source)
    return _word(Path(source).stem), lambda: from_file(source, task)


def from_file(source: str, task: Task = "text-to-image") -> PromptSet:
    """The prompts of a file, or of package:NAME/FILE.

    The key `tag` of a line names the part of the benchmark it belongs to, or lists several. Where
    the task starts from a picture, the key `image` names it: see `task_files`.

    Raises:
        InputError: the file cannot be read, or a line or its picture is wrong.
    """
    cases = []
    lines = read(source)
    files = task_files(lines, task)
    for index, line in enumerate(lines):
        tag = line.meta.get("tag", _UNTAGGED)
        tags = tag if isinstance(tag, list) and tag else [tag]
        for word in tags:
            if not isinstance(word, str) or not re.fullmatch(r"[\w.-]+", word):
                raise InputError(
                    f"{line.where}: the tag {word!r} is not a word; a tag names a part of a "
                    "benchmark, with letters, digits, '_', '.' and '-'"
                )
        cases.append(Case(index, tuple(dict.fromkeys(tags)), line.prompt, line.meta, files[index]))
    return PromptSet(source, cases)


def from_public_list(name: str) -> PromptSet:
    """The prompts of a public list.

    Raises:
        WeightsError: the file is not on this machine and cannot be downloaded.
        InputError: the file has another number of prompts than the list.
    """
    public = LISTS[name]
    located = locate(public.file, {})
    cases = [
        Case(index, (tag,), prompt) for index, (tag, prompt) in enumerate(public.read(located.path))
    ]
    check_number(located.path, cases, name, public.number)
    return PromptSet(f"{located.source} at {located.revision or located.sha256}", cases)


def check_number(path: Path, prompts: Sequence[object], name: str, number: int) -> None:
    """Refuses a list that has more or fewer prompts than it should.

    Raises:
        InputError: the numbers differ.
    """
    if len(prompts) != number:
        raise InputError(
            f"{quoted(path)} has {len(prompts)} prompts, and {name} has {number}: it is another "
            "file, or a part of it"
        )
