"""GenEval: 553 prompts of six tasks, four pictures each, judged by an object detector.

The rules, the detector and the colours are in `rewardkit.geneval`; here are prompts, protocol and
what is reported. Pictures lie as upstream's tools write and read them.

Source: https://github.com/djghosh13/geneval.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.benchmark import Benchmark, Case, PromptSet, Scored, register
from benchmarks.layout import Layout
from rewardkit.errors import InputError
from rewardkit.media.files import read_text
from rewardkit.models.hub import Weights, locate

LINES = Weights(
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
        InputError: a line is wrong.
    """
    from rewardkit.geneval.metadata import parse_metadata

    located = locate(LINES, {})
    cases = []
    for index, line in enumerate(read_text(located.path).splitlines()):
        where = f"{located.path.name}, line {index + 1}"
        try:
            told = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where} is not JSON: {error}") from error
        parse_metadata(told, where)
        meta = {key: value for key, value in told.items() if key != "prompt"}
        cases.append(Case(index, told["tag"], told["prompt"], meta))
    return PromptSet(f"{located.source} at {located.revision or located.sha256}", cases)


def shares(scored: Sequence[Scored]) -> dict[str, float]:
    """What upstream's summary reports beside its score."""
    correct: dict[int, list[bool]] = {}
    for one in scored:
        first = next(iter(one.scores.values()))
        correct.setdefault(one.index, []).append(first == 1.0)
    pictures = [each for of_prompt in correct.values() for each in of_prompt]
    return {
        "share of pictures correct": sum(pictures) / len(pictures),
        "share of prompts with a correct picture": sum(map(any, correct.values())) / len(correct),
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
        prompts=prompts,
        rewards=f"{name}+{name}-graded",
        headline="tasks",
        samples=4,
        layout=_LAYOUT,
        pictures="geneval",
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
        "Its detector was trained by other people than GenEval's, and sees other things at the "
        "thresholds: numbers are not GenEval's.",
    ),
)
