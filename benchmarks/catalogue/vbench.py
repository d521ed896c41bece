"""VBench's prompts by those of its dimensions that need no network of VBench's own.

Each dimension is the mean of one reward over the clips of its prompts. Files are named as in
upstream's standard mode: `PROMPT-0.mp4` ... `PROMPT-4.mp4`, in one folder, which may be that of all
sixteen dimensions.

Source: https://github.com/Vchitect/VBench, vbench/__init__.py: build_full_info_json; normalisation
and weights are NORMALIZE_DIC and DIM_WEIGHT of scripts/constant.py.
"""

from __future__ import annotations

from benchmarks.benchmark import Benchmark, register
from benchmarks.criteria import Criterion
from benchmarks.layout import Layout
from benchmarks.lists import LISTS, VBENCH, check_number
from benchmarks.prompts import Case, PromptSet
from rewardkit.errors import InputError
from rewardkit.media.prompts import read
from rewardkit.weights.hub import locate

DIMENSIONS = (
    Criterion("subject-consistency", "subject_consistency", low=0.1462),
    Criterion("background-consistency", "background_consistency", low=0.2615),
    Criterion("temporal-stability", "temporal_flickering", low=0.6293),
    Criterion("motion-smoothness", "motion_smoothness", low=0.706, high=0.9975),
    Criterion("aesthetic-quality", "aesthetic_quality"),
    # Upstream's verdict on a clip is whether it moves: see the reward's card.
    Criterion("dynamic-degree.raft", "dynamic_degree", weight=0.5, threshold=1.0),
)
_OWN = [criterion.name for criterion in DIMENSIONS]
LEFT_OUT = (
    "imaging_quality", "object_class", "multiple_objects", "human_action", "color",
    "spatial_relationship", "scene", "appearance_style", "temporal_style", "overall_consistency",
)  # fmt: skip
NUMBER = LISTS["vbench"].number


def prompts() -> PromptSet:
    """The prompts of the dimensions that are measured here, each with those it serves.

    Raises:
        WeightsError: the file is not on this machine and cannot be downloaded.
        InputError: it is not VBench's list of 946 prompts with their dimensions.
    """
    located = locate(VBENCH, {})
    lines = read(located.path, "prompt_en")
    check_number(located.path, lines, "VBench", NUMBER)
    cases: list[Case] = []
    for line in lines:
        dimensions = line.meta.get("dimension")
        if not isinstance(dimensions, list) or not {*dimensions} <= {*_OWN, *LEFT_OUT}:
            raise InputError(
                f"{line.where}: the key `dimension` lists dimensions of VBench, and has "
                f"{dimensions!r}"
            )
        own = tuple(name for name in _OWN if name in dimensions)
        if own:
            cases.append(Case(len(cases), own, line.prompt))
    return PromptSet(f"{located.source} at {located.revision or located.sha256}", cases)


register(
    Benchmark(
        name="vbench-core",
        version="1",
        about="Six of VBench's sixteen dimensions, on their 326 prompts, five clips each",
        task="text-to-video",
        prompts=prompts,
        rewards="+".join(criterion.reward or "" for criterion in DIMENSIONS),
        criteria=DIMENSIONS,
        total="core-quality",
        samples=5,
        layout=Layout(
            place=lambda case, sample: f"{case.prompt}-{sample}",
            pattern=r"(?P<text>[^/]+)-(?P<sample>\d+)",
            among_others=True,
        ),
        media="vbench",
        unit="% of VBench's range",
        scale=100.0,
        paper="https://arxiv.org/abs/2311.17982",
        notes=(
            "core-quality is the weighted mean of six normalised dimensions. It is neither the "
            "Total Score of VBench nor its Quality Score, whose weights it has, and cannot be "
            "compared with them.",
            "VBench's other dimensions need networks that are not here and are left out: "
            f"{', '.join(LEFT_OUT)}.",
            "imaging_quality, of VBench's Quality Score, is left out because MUSIQ is: its authors "
            "publish it for JAX alone, and the PyTorch version that VBench uses, of the package "
            "pyiqa, is licensed for noncommercial use only, code and weights.",
            "Subject and background consistency, temporal flickering and aesthetic quality are "
            "VBench's numbers of each clip. Dynamic degree is VBench's but for the file of RAFT's "
            "weights: see the card of dynamic-degree.raft. Motion smoothness follows its rule with "
            "DIS optical flow for its network, and cannot be compared with its numbers.",
            "VBench's consistency of a model is the mean over frames, here over clips: the same "
            "where all clips have the same length.",
            "For temporal flickering VBench makes 25 clips of each prompt and keeps five that its "
            "static filter takes for still; here five are made, and all count. Of a folder of "
            "filtered clips, score those that there are with --allow-partial.",
            "Consistency, flickering and smoothness rise with the frame rate of the same motion: "
            "compare models at one rate.",
        ),
    )
)
