"""The HPS v2 benchmark: 4 styles x 800 prompts, one picture each, scored by a version of HPS.

Upstream scores folders `<style>/<number>.jpg`; .png, which is lossless, is taken too.

Source: https://github.com/tgxs002/HPSv2, hpsv2/evaluation.py: evaluate_benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev

from benchmarks.benchmark import Benchmark, register
from benchmarks.layout import Layout
from benchmarks.lists import check_number
from benchmarks.prompts import Case, PromptSet
from benchmarks.rows import ScoredSample
from rewardkit.media.prompts import read
from rewardkit.weights.hub import locate
from rewardkit.weights.pins import PinnedFile

STYLES = ("anime", "concept-art", "paintings", "photo")
PER_STYLE = 800
# Upstream reports the spread of the means of ten parts.
CHUNK = 80
SCALE = 100.0


def prompts() -> PromptSet:
    """The prompts of the four styles, one style after the other.

    Raises:
        WeightsError: a file is not on this machine and cannot be downloaded.
        InputError: a file is not a list of 800 prompts.
    """
    cases: list[Case] = []
    revisions = []
    for style in STYLES:
        located = locate(
            PinnedFile(
                name=f"hps-{style}",
                repo="zhwang/HPDv2",
                kind="data",
                files=(f"benchmark/{style}.json",),
                licence="Apache-2.0",
            ),
            {},
        )
        lines = read(located.path)
        check_number(located.path, lines, f"the style {style}", PER_STYLE)
        cases += [Case(len(cases) + i, (style,), line.prompt) for i, line in enumerate(lines)]
        revisions.append(located.revision or located.sha256)
    return PromptSet(f"zhwang/HPDv2 at {', '.join(dict.fromkeys(revisions))}", cases)


def chunk_spread(scored: Sequence[ScoredSample]) -> dict[str, float]:
    """The spread that upstream prints beside each style: that of the means of ten parts of it.

    It is not a standard error, which would be about a third of it.
    """
    by_style: dict[str, list[float]] = {style: [] for style in STYLES}
    for row in sorted(scored, key=lambda row: row.index):
        (value,) = row.scores.values()
        assert value is not None, "figures are of pictures that have a score"
        by_style[row.stratum].append(SCALE * value)
    return {
        f"chunk std {style}": pstdev(
            [fmean(values[i : i + CHUNK]) for i in range(0, len(values), CHUNK)]
        )
        for style, values in by_style.items()
        if values
    }


_LAYOUT = Layout(
    place=lambda case, sample: f"{case.stratum}/{case.index % PER_STYLE:05d}",
    pattern=rf"(?P<task>{'|'.join(STYLES)})/(?P<prompt>\d+)",
)

register(
    *(
        Benchmark(
            name=version,
            version="1",
            about=f"HPS v2 benchmark: 3,200 prompts of four styles, by {version}; x 100",
            task="text-to-image",
            prompts=prompts,
            rewards=version,
            samples=1,
            layout=_LAYOUT,
            media="hps",
            unit="100 x cosine",
            scale=SCALE,
            figures=chunk_spread,
            paper="https://arxiv.org/abs/2306.09341",
            notes=("Versions of HPS cannot be compared with one another.",),
        )
        for version in ("hps.v2.0", "hps.v2.1", "hps.v2.1-2023")
    ),
    default="hps.v2.1",
)
