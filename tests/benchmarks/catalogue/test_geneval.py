"""GenEval's score, tasks and figures are those of its own summary."""

import json

import numpy as np
import pytest

from benchmarks.benchmark import get
from benchmarks.catalogue import geneval
from benchmarks.prompts import Case
from benchmarks.rows import ScoredSample
from benchmarks.summary import metrics
from rewardkit.errors import InputError
from rewardkit.geneval.aggregate import JudgedImage, summarize

GENEVAL = get("geneval")
SIZES = {"single_object": 5, "two_object": 3, "counting": 4, "colors": 2, "position": 6}
CASES = [
    Case(index, (tag,), f"prompt {index}")
    for index, tag in enumerate(tag for tag, n in SIZES.items() for _ in range(n))
]
LINES = [
    {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a bench"},
    {
        "tag": "counting",
        "include": [{"class": "bus", "count": 3}],
        "exclude": [{"class": "bus", "count": 4}],
        "prompt": "three buses",
    },
]


@pytest.mark.parametrize("seed", range(5))
def test_the_score_is_that_of_the_summary(seed):
    rng = np.random.default_rng(seed)
    rates = rng.random(len(CASES))
    verdicts = [
        (case, sample, bool(rng.random() < rates[case.index]))
        for case in CASES
        for sample in range(4)
    ]
    rng.shuffle(verdicts)
    scored = [
        # The graded score gives credit to parts, and decides nothing.
        ScoredSample(c.stratum, c.index, s, {"geneval": float(v), "geneval-graded": 0.5 + v / 2})
        for c, s, v in verdicts
    ]
    summary = summarize(
        [JudgedImage(case.stratum, case.prompt, verdict) for case, _, verdict in verdicts],
        {case.prompt: case.stratum for case in CASES},
    )
    found = metrics(GENEVAL, ["geneval", "geneval-graded"], CASES, scored)["geneval"]
    assert found.headline.score == pytest.approx(summary.overall, rel=1e-12)
    assert {tag: score.score for tag, score in found.tasks.items()} == pytest.approx(
        dict(summary.tags)
    )
    assert list(found.tasks) == list(SIZES)
    assert GENEVAL.figures(scored) == {
        "share of pictures correct": pytest.approx(summary.pictures),
        "share of prompts with a correct picture": pytest.approx(summary.prompts),
    }


@pytest.fixture
def lines(home, monkeypatch):
    """`lines(...)` are the lines of the metadata, however many."""
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(home))

    def write(*lines, number=None):
        monkeypatch.setattr(geneval, "NUMBER", len(lines) if number is None else number)
        path = home / "geneval-prompts.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")

    return write


def test_prompts_are_the_lines_of_the_metadata(lines):
    lines(*LINES)
    cases = GENEVAL.prompts().cases
    assert [(case.index, case.stratum, case.prompt) for case in cases] == [
        (0, "single_object", "a bench"),
        (1, "counting", "three buses"),
    ]
    # What lies beside pictures is upstream's line, whole.
    assert GENEVAL.layout.beside(cases[1]) == {"00001/metadata.jsonl": LINES[1]}
    assert GENEVAL.layout.place(cases[1], 3) == "00001/samples/00003"


def test_a_wrong_line_is_named(lines):
    lines(LINES[0], {**LINES[1], "include": [{"class": "omnibus", "count": 3}]})
    with pytest.raises(InputError, match=r"geneval-prompts\.jsonl.*line 2.*omnibus"):
        GENEVAL.prompts()
    lines(LINES[0], {"prompt": "a cat"})
    with pytest.raises(InputError, match=r"geneval-prompts\.jsonl.*line 2"):
        GENEVAL.prompts()


def test_a_part_of_the_metadata_is_refused(lines):
    lines(*LINES, number=553)
    with pytest.raises(InputError, match="has 2 prompts, and GenEval has 553"):
        GENEVAL.prompts()


def test_the_variant_has_a_name_of_its_own_and_the_same_pictures():
    variant = get("geneval-hf")
    assert variant.rewards == "geneval-hf+geneval-hf-graded" and variant.notes
    assert variant.media == GENEVAL.media
