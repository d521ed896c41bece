"""Policies over tiny pipelines, and the configurations they need."""

from pathlib import Path
from typing import get_type_hints

import tiny_pipelines
import tiny_videos
import torch

from grpo import policies
from grpo.config.fields import Config, SamplerConfig
from grpo.testing import randomise
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import PromptLine

STEPS = 4
ALL = tiny_pipelines.ALL | tiny_videos.ALL
PROTOCOLS = tiny_pipelines.PROTOCOLS | tiny_videos.PROTOCOLS


def saved(home: Path) -> dict[str, Path]:
    """Folders of pipelines that can be trained, by name; sd-v predicts v."""
    return {name: tiny_pipelines.saved(name, home) for name in ("sd", "sd-v", "sd3")}


def sampling(name: str, **changes) -> SamplerConfig:
    """Four steps of the pipeline of that name, in its size, without classifier-free guidance."""
    pipe = get_type_hints(ALL[name])["return"].__name__
    rules, own = policies.families()[pipe].rules, PROTOCOLS[name]
    fields = {
        "rule": "flow" if "flow" in rules else rules[0],
        "noise_level": 0.7,
        "steps": STEPS,
        "guidance": None if own.guidance is None else FAMILIES[pipe].unguided,
        "true_guidance": None if own.true_guidance is None else 1.0,
        **own.model_dump(include={"height", "width", "frames", "fps"}),
        "max_sequence_length": own.max_sequence_length,
        "prompts_per_step": 1,
        "group_size": 2,
    }
    return SamplerConfig.model_validate(fields | changes)


def config(name: str, sampler=None, policy=None, objective=None) -> Config:
    """A run of the pipeline of that name, with some fields of its own."""
    return Config.model_validate(
        {
            "model": name,
            "reward": "sharpness",
            "prompts": "shapes:train",
            "steps": 1,
            "method": "none",
            "sampler": sampling(name, **(sampler or {})),
            "objective": objective or {"kind": "policy-gradient"},
            "policy": {"rank": 2, "alpha": 6, **(policy or {})},
            "optim": {"lr": 1e-2},
        }
    )


def policy(folder: Path, **changes) -> policies.Policy:
    """The policy of a pipeline of `saved`; a LoRA that changes what the network puts out."""
    made = policies.of(load(folder, device="cpu"), config(folder.name, **changes))
    randomise(made)
    return made


def inputs(made: policies.Policy, prompts=("a red ring", "two boxes")):
    """Noise, timesteps and condition of one call of a policy."""
    x = made.noise([torch.Generator().manual_seed(i) for i in range(len(prompts))])
    lines = [PromptLine("", prompt) for prompt in prompts]
    return x, torch.full((len(prompts),), 500), made.encode(lines)
