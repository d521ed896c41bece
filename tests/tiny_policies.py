"""Policies over tiny pipelines, and the configurations they need."""

from pathlib import Path

import tiny_pipelines
import torch

from grpo import policies
from grpo.config.fields import Config, SamplerConfig
from grpo.testing import randomise
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import PromptLine

STEPS = 4
RULES = {
    "sd": "ddim", "sdxl": "ddim", "sd3": "flow", "flux": "flow", "qwen": "flow", "z": "flow",
}  # fmt: skip


def saved(home: Path) -> dict[str, Path]:
    """Folders of pipelines that can be trained, by name; sd-v predicts v."""
    folders = {name: tiny_pipelines.saved(name, home) for name in ("sd", "sd3")}
    pipe = tiny_pipelines.sd(home / "tokenizer")
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    pipe.save_pretrained(home / "sd-v")
    return folders | {"sd-v": home / "sd-v"}


def sampling(name: str, **changes) -> SamplerConfig:
    """Four steps of the pipeline of that name."""
    family = name.split("-")[0]
    fields = {
        "rule": RULES[family],
        "noise_level": 0.7,
        "steps": STEPS,
        "guidance": 1.0,
        "max_sequence_length": 8 if RULES[family] == "flow" else None,
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
