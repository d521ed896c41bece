"""The HPS v2 benchmark adds up as upstream's does."""

import json

import numpy as np
import pytest

from benchmarks.benchmark import get
from benchmarks.catalogue.hps import PER_STYLE, STYLES
from benchmarks.prompts import Case
from benchmarks.rows import ScoredSample
from benchmarks.summary import metrics
from rewardkit.errors import InputError

HPS = get("hps")
CASES = [Case(i, (STYLES[i // PER_STYLE],), "a cat") for i in range(len(STYLES) * PER_STYLE)]


def upstreams(scores):
    """What hpsv2/evaluation.py, evaluate_benchmark, prints: by style, and the average.

    Source: https://github.com/tgxs002/HPSv2 at 866735ecaae999fa714bd9edfa05aa2672669ee3.
    """
    by_style, everything = {}, []
    for style, of_style in scores.items():
        chunks = [np.mean(of_style[i : i + 80]) for i in range(0, len(of_style), 80)]
        by_style[style] = np.mean(chunks), np.std(chunks)
        everything += of_style
    return by_style, np.mean(everything)


def drawn(seed):
    rng = np.random.default_rng(seed)
    return np.float32(rng.normal(0.27, 0.03, len(CASES)) + 0.02 * rng.random())


def scored(values, order):
    return [ScoredSample(CASES[i].stratum, i, 0, {"hps.v2.1": float(values[i])}) for i in order]


@pytest.mark.parametrize("seed", [0, 1])
def test_means_and_spreads_are_upstreams(seed):
    values = drawn(seed)
    by_style = {
        style: [100 * float(v) for v in values[i * 800 : (i + 1) * 800]]
        for i, style in enumerate(STYLES)
    }
    scores, average = upstreams(by_style)
    # Whatever order pictures are found in.
    order = np.random.default_rng(seed).permutation(len(CASES))
    mine = scored(values, order)
    found = metrics(HPS, ["hps.v2.1"], CASES, mine)["hps.v2.1"]
    assert found.headline.score == pytest.approx(average, rel=1e-12)
    figures = HPS.figures(mine)
    for style, (mean, spread) in scores.items():
        assert found.tasks[style].score == pytest.approx(mean, rel=1e-12)
        assert figures[f"chunk std {style}"] == pytest.approx(spread, rel=1e-9)


def test_where_pictures_are_missing_chunks_are_of_those_that_are_there():
    values = drawn(3)
    there = [i for i in range(PER_STYLE) if i % 7]
    scores, _ = upstreams({"anime": [100 * float(values[i]) for i in there]})
    figures = HPS.figures(scored(values, there))
    assert figures == {"chunk std anime": pytest.approx(scores["anime"][1], rel=1e-9)}


def published(server, **changes):
    files = {style: json.dumps([f"{style} {i}" for i in range(800)]) for style in STYLES} | changes
    server(
        "zhwang/HPDv2",
        "d" * 40,
        **{f"benchmark/{style}__json": text.encode() for style, text in files.items()},
    )


def test_prompts_are_those_of_the_hub_in_order(server):
    published(server)
    read = HPS.prompts()
    assert len(read.cases) == 3200 and read.source == f"zhwang/HPDv2 at {'d' * 40}"
    assert [read.cases[i].prompt for i in (0, 800, 3199)] == [
        "anime 0",
        "concept-art 0",
        "photo 799",
    ]
    assert [case.index for case in read.cases] == list(range(3200))
    assert HPS.layout.place(read.cases[1601], 0) == "paintings/00001"
    assert get("hps.v2.0").prompts().sha256 == read.sha256


@pytest.mark.parametrize("text", ['["a"]', '{"a": 1}', "{"])
def test_a_list_that_is_another_is_refused(text, server):
    published(server, **{"paintings": text})
    with pytest.raises(InputError, match=r"paintings\.json"):
        HPS.prompts()


def test_versions_share_their_pictures_and_not_their_scores():
    found = [get(f"hps.{version}") for version in ("v2.0", "v2.1", "v2.1-2023")]
    assert len({item.media for item in found}) == 1
    assert len({item.rewards for item in found}) == 3
