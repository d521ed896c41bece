"""The rollout of a tiny FLUX.1 that DanceGRPO's loop and ours are compared on.

Weights are numbers by name, so that they depend on no library's initial values.
"""

from __future__ import annotations

from pathlib import Path

import tiny_pipelines
import tiny_policies
import torch
from golden.calls import numbers

from grpo import policies
from grpo.config.fields import Config
from grpo.policies import Policy
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import PromptLine

#: `rollout.collect` draws by them.
KEYS = (3, 7)
#: Each a case; DanceGRPO samples one prompt at a time.
PROMPTS = ("a red ring", "two blue boxes")
GROUP, SIZE = 2, 32


def config() -> Config:
    """DanceGRPO's sampler in five steps, whose timesteps are no whole numbers unless truncated."""
    sampler = {"rule": "dance", "noise_level": 0.3, "schedule": "uniform", "shift": 3.0}
    sampler |= {"truncate_timesteps": True, "guidance": 3.5, "height": SIZE, "width": SIZE}
    sampler |= {"steps": 5, "noise": "group", "group_size": GROUP, "batch_size": GROUP}
    full = {"parameters": "full"}
    return tiny_policies.config("flux", {**sampler, "max_sequence_length": 16}, full)


def policy(folder: Path) -> Policy:
    """A policy of a tiny FLUX.1, saved below `folder`."""
    pipeline = load(tiny_pipelines.saved("flux", folder), device="cpu")
    for part in ("transformer", "text_encoder", "text_encoder_2", "vae"):
        weights = getattr(pipeline.diffusers, part).state_dict()
        for place, name in enumerate(sorted(weights)):
            tensor = weights[name]
            if tensor.is_floating_point():
                tensor.copy_(numbers(place, *tensor.shape) / max(tensor.shape[-1:] or (1,)) ** 0.5)
    return policies.of(pipeline, config())


def line(prompt: str) -> PromptLine:
    """A prompt as a rollout takes it."""
    return PromptLine("", prompt)


def chosen(states: torch.Tensor) -> torch.Tensor:
    """A few of the numbers of states [..., L, D], which fit a file."""
    return states[..., ::3, ::5]
