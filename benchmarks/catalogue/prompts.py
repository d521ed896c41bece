"""Any prompts, any rewards: the scores of a model on a list of the user's, or on a public one."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.benchmark import Benchmark, register
from benchmarks.layout import NUMBERED

PICTURES = Benchmark(
    name="prompts",
    version="1",
    about="Text-to-image models on any list of prompts or a public one, by rewards of images",
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
    about="Text-to-video models on any list of prompts or a public one, by rewards of videos",
    task="text-to-video",
    media="video-prompts",
)

FIRST_FRAMES = replace(
    CLIPS,
    name="image-to-video-prompts",
    about="Image-to-video models on any list of prompts with first frames, by rewards of videos",
    task="image-to-video",
    media="image-to-video-prompts",
    notes=(
        *CLIPS.notes,
        "The key `image` of a prompt's line names its first frame, from the folder of the file.",
    ),
)

register(PICTURES, CLIPS, FIRST_FRAMES)
