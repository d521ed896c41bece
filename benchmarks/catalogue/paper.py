"""DanceGRPO's table of text-to-image models: HPS, CLIP, Pick-a-Pic and GenEval, base and tuned.

Source: https://arxiv.org/abs/2505.07818, tables of Stable Diffusion 1.4 and FLUX.1-dev.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.benchmark import Benchmark, Suite, get, register


def _parts() -> Sequence[Benchmark]:
    found = [get(name) for name in ("hps.v2.1", "prompts", "geneval")]
    hps, prompts, geneval = (benchmark for benchmark in found if isinstance(benchmark, Benchmark))
    return hps, prompts.on("pick-a-pic-test").by("clip.dfn5b-h-14-378+pickscore.v1"), geneval


register(
    Suite(
        name="paper",
        about="DanceGRPO's table in one command: HPS, CLIP, Pick-a-Pic, GenEval; base and tuned",
        parts=_parts,
        paper="https://arxiv.org/abs/2505.07818",
        notes=(
            "The paper prints HPS as a cosine and PickScore divided by 100; here they are 100 "
            "times the cosine, and the logit scale times it.",
            "The paper's CLIP and Pick-a-Pic columns are of 1,000 prompts that its authors keep to "
            "themselves; here they are of a public test split, so those columns cannot be compared "
            "with the paper's.",
        ),
    )
)
