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
from grpo.export import export
from grpo.rewards import Rewards
from grpo.run import Run
from grpo.trainer import Trainer
from rewardkit.generators.noise import generator
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import read

GRADIENT = {"kind": "policy-gradient", "updates": 2}
DPOK = {"kind": "dpok", "updates": 2, "fraction": 0.7, "value_lr": 1e-3}
BACK = {"kind": "reward-gradient", "last": 2, "updates": 2}
FORWARD = {"kind": "forward-process", "timesteps": 2, "updates": 2, "decay_slope": 0.1}
MATCHING = {"kind": "weighted-matching", "timesteps": 2, "updates": 2, "decay_slope": 0.1}
PREFERENCE = {"kind": "group-preference", "timesteps": 2, "updates": 1, "beta": 10.0}
CENTERED = {"kind": "centered-reward", "timesteps": 2, "updates": 2, "decay_slope": 0.1}
DISTILLATION = {"kind": "distillation", "form": "advantage", "clip_range": 0.1}


@dataclass(frozen=True)
class Kind:
    """How a kind of objective is tried.

    Attributes:
        folder: the pipeline of `tiny_policies.saved`.
        settings: its table [objective].
        more: further ones, under which it uses all that it has.
        noise: whether its sampler draws noise.
        teachers: names of LoRAs that it learns from; only a LoRA can be trained then.
        reward: what it is trained on.
    """

    folder: str
    settings: dict[str, Any]
    more: dict[str, Any]
    noise: bool = True
    teachers: tuple[str, ...] = ()
    reward: str = "sharpness"


#: One row for each of the package's kinds: its contract is tested by it.
KINDS = {
    "policy-gradient": Kind("sd", GRADIENT, {"kl": 0.1}),
    "dpok": Kind("sd", DPOK, {}),
    "forward-process": Kind("sd3", FORWARD, {"kl": 0.1}, noise=False),
    "weighted-matching": Kind("sd3", MATCHING, {"kl": 0.1, "stratified": True}, noise=False),
    "group-preference": Kind(
        "sd3", PREFERENCE, {"kl": 0.1, "clip_range": 0.1, "decay_slope": 0.1}, noise=False
    ),
    "centered-reward": Kind("sd3", CENTERED, {"kl": 0.1}, noise=False),
    "reward-gradient": Kind("sd", BACK, {}, reward="shapes-clip"),
    "distillation": Kind("sd3", DISTILLATION, {"kl": 0.1}, teachers=("one", "two")),
}
#: The kinds that tests of the training loop itself go over.
OF_LOOP = ("policy-gradient", "forward-process", "reward-gradient")
PROMPTS = ("a red ring", "two boxes", "a star")


def teacher(folder: Path, name: str, rank: int = 1, **policy) -> Path:
    """A LoRA of random values for a pipeline of `tiny_policies.saved`, as a run exports it."""
    out = folder.parent / f"{name}-{rank}"
    if not out.exists():
        settings = {"policy": {"rank": rank, "alpha": 3 * rank, **policy}}
        made = policies.of(load(folder, device="cpu"), config(folder, **settings))
        with torch.no_grad():
            for place, parameter in enumerate(made.parameters().values()):
                numbers = generator(*name.encode(), place)
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=numbers))
        export(made, out, {})
    return out


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
    if kind is not None and kind.teachers:
        named = {name: str(teacher(folder, name)) for name in kind.teachers}
        sections["objective"] = {"teachers": named} | sections["objective"]
        prompts = prompts.with_suffix(".jsonl")
        tags = (kind.teachers * len(PROMPTS))[: len(PROMPTS)]
        rows = [{"prompt": text, "tag": tag} for text, tag in zip(PROMPTS, tags, strict=True)]
        prompts.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    flow = sampling(folder.name).rule != "ddim"
    noise = kind is None or kind.noise
    drawn = {} if noise else {"rule": "ode" if flow else "ddim", "noise_level": 0.0}
    drawn |= {"steps": 3, "prompts_per_step": 2, "group_size": 3, "batch_size": 4}
    tables = {
        "objective": GRADIENT if "objective" not in sections else {},
        "policy": {"rank": 2, "alpha": 4},
        "optim": {"lr": 1e-3},
    }
    return Config.model_validate(
        {
            "model": str(folder),
            "reward": "sharpness" if kind is None else kind.reward,
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
    found = dict(flat(state, "checkpoint"))
    for path in sorted(run.model.rglob("*.safetensors")):
        found |= {f"{path.name}/{name}": value for name, value in load_file(path).items()}
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def flat(value: Any, name: str) -> list[tuple[str, torch.Tensor]]:
    """The tensors and numbers in dictionaries and lists, each by its path."""
    if isinstance(value, dict):
        return [pair for key, one in value.items() for pair in flat(one, f"{name}/{key}")]
    if isinstance(value, list | tuple):
        return [pair for i, one in enumerate(value) for pair in flat(one, f"{name}/{i}")]
    return [] if value is None or isinstance(value, str) else [(name, torch.as_tensor(value))]
