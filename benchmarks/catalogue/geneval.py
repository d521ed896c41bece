"""GenEval: 553 prompts of six tasks, four pictures each, judged by an object detector.

The rules, the detector and the colours are in `rewardkit.geneval`; here are the prompts, the
protocol and what is reported. Files are named as upstream's tools write and read them.

Source: https://github.com/djghosh13/geneval.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.benchmark import Benchmark, register
from benchmarks.criteria import each_tag
from benchmarks.layout import Layout
from benchmarks.lists import check_number
from benchmarks.prompts import Case, PromptSet
from benchmarks.rows import ScoredSample
from rewardkit.media.prompts import read
from rewardkit.weights.hub import locate
from rewardkit.weights.pins import PinnedFile

NUMBER = 553
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
LINES = PinnedFile(
    name="geneval-prompts",
    repo="djghosh13/geneval",
    host="github",
    kind="data",
    files=("prompts/evaluation_metadata.jsonl",),
    revision="af4902f24d3ca90ebbb446dd9891a59e0f82725f",
    sha256="5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13",
    licence="MIT",
)


def prompts() -> PromptSet:
    """The lines of upstream's metadata.

    Raises:
        WeightsError: the file is not on this machine and cannot be downloaded.
        InputError: a line is wrong, or there are not 553.
    """
    from rewardkit.geneval.metadata import parse_metadata

    located = locate(LINES, {})
    cases = []
    for index, line in enumerate(read(located.path)):
        parse_metadata({**line.meta, "prompt": line.prompt}, where=line.where)
        cases.append(Case(index, (line.meta["tag"],), line.prompt, line.meta))
    check_number(located.path, cases, "GenEval", NUMBER)
    return PromptSet(f"{located.source} at {located.revision or located.sha256}", cases)


def shares(scored: Sequence[ScoredSample]) -> dict[str, float]:
    """The shares that upstream's summary reports beside its score."""
    from rewardkit.geneval.aggregate import JudgedImage, summarize

    # The first reward is the strict one.
    verdicts = [
        JudgedImage(row.stratum, str(row.index), next(iter(row.scores.values())) == 1.0)
        for row in scored
    ]
    expected = {verdict.prompt: verdict.tag for verdict in verdicts}
    found = summarize(verdicts, expected, per_prompt=len(verdicts), partial=True)
    return {
        "share of pictures correct": found.pictures,
        "share of prompts with a correct picture": found.prompts,
    }


_LAYOUT = Layout(
    place=lambda case, sample: f"{case.index:05d}/samples/{sample:05d}",
    pattern=r"(?P<prompt>\d+)/samples/(?P<sample>\d+)",
    ignored=frozenset({"grid.png"}),
    beside=lambda case: {f"{case.index:05d}/metadata.jsonl": {**case.meta, "prompt": case.prompt}},
)


def _geneval(name: str, detector: str, *notes: str) -> Benchmark:
    return Benchmark(
        name=name,
        version="1",
        about=f"553 prompts of six tasks, judged by an object detector: {detector}",
        task="text-to-image",
        prompts=prompts,
        rewards=f"{name}+{name}-graded",
        criteria=each_tag(*TASKS),
        samples=4,
        layout=_LAYOUT,
        media="geneval",
        unit="share of pictures",
        figures=shares,
        paper="https://arxiv.org/abs/2310.11513",
        notes=notes,
    )


register(
    _geneval("geneval", "upstream's"),
    _geneval(
        "geneval-hf",
        "the one that Hugging Face carries",
        "Its detector was trained by other people than GenEval's and sees other objects at the "
        "same thresholds, so its numbers are not GenEval's.",
    ),
)
