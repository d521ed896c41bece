"""Any prompts, any rewards: the scores of a model on a list of the user's, or on a public one."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.benchmark import Benchmark, register
from benchmarks.layout import NUMBERED

PICTURES = Benchmark(
    name="prompts",
    version="1",
    about="Any list of prompts by any rewards: --prompts FILE|drawbench|parti|pick-a-pic-test",
    task="text-to-image",
    prompts=None,
    rewards=None,
    samples=1,
    layout=NUMBERED,
    media="prompts",
    unit="of the reward",
    notes=(
        "The key `tag` of a prompt's line names the task it belongs to, or lists several.",
        "Results on other prompts or by other rewards cannot be compared.",
    ),
)
CLIPS = replace(
    PICTURES,
    name="video-prompts",
    about="The same for models that make clips: any list of prompts by any rewards of clips",
    task="text-to-video",
    media="video-prompts",
)

FIRST_FRAMES = replace(
    CLIPS,
    name="image-to-video-prompts",
    about="The same for models that make clips from a first frame, which each prompt's line names",
    task="image-to-video",
    media="image-to-video-prompts",
    notes=(
        *CLIPS.notes,
        "The key `image` of a prompt's line names its first frame, from the folder of the file.",
    ),
)

register(PICTURES, CLIPS, FIRST_FRAMES)
