"""Runs of a few training steps over tiny pipelines, and what they leave."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tiny_policies import sampling

from grpo import policies
from grpo.config.fields import Config
from grpo.rewards import Rewards
from grpo.run import Run
from grpo.trainer import Trainer
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import read

GRADIENT = {"kind": "policy-gradient", "updates": 2}
DPOK = {"kind": "dpok", "updates": 2, "fraction": 0.7, "value_lr": 1e-3}
FORWARD = {"kind": "forward-process", "timesteps": 2, "updates": 2, "decay_slope": 0.1}


@dataclass(frozen=True)
class Kind:
    """How a kind of objective is tried.

    Attributes:
        folder: the pipeline of `tiny_policies.saved`.
        settings: its table [objective].
        more: further ones, under which it uses all that it has.
        noise: whether its sampler draws noise.
    """

    folder: str
    settings: dict[str, Any]
    more: dict[str, Any]
    noise: bool = True


#: One row for each of the package's kinds: tests of all kinds go over these.
KINDS = {
    "policy-gradient": Kind("sd", GRADIENT, {"kl": 0.1}),
    "dpok": Kind("sd", DPOK, {}),
    "forward-process": Kind("sd3", FORWARD, {"kl": 0.1}, noise=False),
}
PROMPTS = ("a red ring", "two boxes", "a star")


def config(folder: Path, *, top=None, sampler=None, **sections) -> Config:
    """Three training steps of 2 prompts with 3 samples each, in batches of 4.

    Args:
        folder: a pipeline of `tiny_policies.saved`; prompts.txt is written beside it.
        top: changed keys of the run itself.
        sampler: changed keys of the sampler.
        sections: changed keys of the other tables.
    """
    prompts = folder.parent / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS), "utf-8")
    kind = KINDS.get(sections.get("objective", GRADIENT)["kind"])
    flow = sampling(folder.name).rule != "ddim"
    noise = kind is None or kind.noise
    drawn = {} if noise else {"rule": "ode" if flow else "ddim", "noise_level": 0.0}
    drawn |= {"steps": 3, "prompts_per_step": 2, "group_size": 3, "batch_size": 4}
    tables = {
        "objective": GRADIENT,
        "policy": {"rank": 2, "alpha": 4},
        "optim": {"lr": 1e-3},
    }
    return Config.model_validate(
        {
            "model": str(folder),
            "reward": "sharpness",
            "prompts": str(prompts),
            "steps": 3,
            "method": "none",
            "sampler": sampling(folder.name, **(drawn | (sampler or {}))),
            **{name: tables.get(name, {}) | value for name, value in (tables | sections).items()},
            **(top or {}),
        }
    )


def trainer(run: Config) -> Trainer:
    """What a run of this configuration steps."""
    policy = policies.of(load(run.model, device="cpu"), run)
    return Trainer(run, policy, Rewards(run.reward, "cpu"), read(run.prompts))


def lines(run: Run) -> list[dict[str, Any]]:
    """metrics.jsonl without its seconds."""
    found = [json.loads(line) for line in run.metrics.read_text("utf-8").splitlines()]
    return [{k: v for k, v in line.items() if not k.startswith("seconds/")} for line in found]


def outcome(run: Run) -> dict[str, torch.Tensor]:
    """Every tensor of the newest checkpoint and of the exported files."""
    state = run.latest()
    assert state is not None
    found = dict(_flat(state, "checkpoint"))
    for path in sorted(run.model.rglob("*.safetensors")):
        found |= {f"{path.name}/{name}": value for name, value in load_file(path).items()}
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _flat(value: Any, name: str) -> list[tuple[str, torch.Tensor]]:
    if isinstance(value, dict):
        return [pair for key, one in value.items() for pair in _flat(one, f"{name}/{key}")]
    if isinstance(value, list | tuple):
        return [pair for i, one in enumerate(value) for pair in _flat(one, f"{name}/{i}")]
    return [] if value is None else [(name, torch.as_tensor(value))]
