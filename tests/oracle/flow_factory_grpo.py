"""Golden file of Flow-Factory's own code; the argument is a clone of X-GenGroup/Flow-Factory."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from golden.calls import Calls, call, numbers
from upstream import commit, passage

torch.set_num_threads(1)
clone = Path(sys.argv[1])
GUARD = "src/flow_factory/trainers/grpo.py"
GDPO = "src/flow_factory/advantage/advantage_processor.py"
ratio = passage(clone / GUARD, "scale_factor = torch.sqrt", "policy_loss = torch.mean")
gdpo = passage(clone / GDPO, "all_reward_advantages = []", "advantages = (combined_advantages")


def guard() -> list:
    calls = []
    for seed in range(3):
        mean, old_mean, x_next = (numbers(3000 + 10 * seed + i, 4, 2, 3) for i in range(3))
        old_mean = mean + old_mean / 16
        size, diffusion = 0.04 * (1 + seed), 0.7
        std = diffusion * size**0.5
        log_prob, old_log_prob = (
            (-((x_next - mu) ** 2) / (2 * std**2)).mean((1, 2)) for mu in (mean, old_mean)
        )
        advantage = numbers(3005 + 10 * seed, 4)
        log_prob.requires_grad_()
        output = SimpleNamespace(
            dt=torch.tensor(-size),
            std_dev_t=torch.tensor(diffusion),
            next_latents_mean=mean,
            log_prob=log_prob,
        )
        space = {
            "torch": torch,
            "output": output,
            "old_log_prob": old_log_prob,
            "batch": {"next_latents_mean": old_mean[:, None]},
            "callback_index_map": [0],
            "timestep_index": 0,
            "adv": advantage,
            "self": SimpleNamespace(training_args=SimpleNamespace(clip_range=(-0.02, 0.02))),
        }
        exec(ratio, space)
        (gradient,) = torch.autograd.grad(space["policy_loss"], log_prob)
        arguments = {"mean": mean, "old_mean": old_mean, "std": std, "advantage": advantage}
        arguments |= {"log_prob": log_prob.detach(), "old_log_prob": old_log_prob}
        results = {"loss": space["policy_loss"].detach(), "ratio": space["ratio"].detach()}
        calls.append(call(arguments | {"clip_range": 0.02}, results | {"gradient": gradient}))
    return calls


def advantages() -> list:
    calls = []
    for seed, weights in enumerate([{"a": 1.0, "b": 1.0}, {"a": 0.7, "b": 1.4, "c": 2.0}]):
        rewards = {
            name: numbers(3100 + 10 * seed + place, 3, 4) * 10**place
            for place, name in enumerate(weights)
        }
        space = {
            "np": np,
            "gathered_rewards": {name: each.flatten().numpy() for name, each in rewards.items()},
            "group_indices": np.repeat([0, 1, 2], 4),
            "self": SimpleNamespace(
                reward_weights=weights,
                _global_mean_std=lambda values: (np.mean(values), np.std(values)),
            ),
        }
        exec(gdpo, space)
        values = torch.tensor(space["advantages"]).view(3, 4)
        arguments = {"rewards": {name: each.tolist() for name, each in rewards.items()}}
        calls.append(call(arguments | {"weights": weights}, {"advantages": values}))
    return calls


Calls(
    upstream=f"X-GenGroup/Flow-Factory@{commit(clone)}",
    command="PYTHONPATH=.:tests python tests/oracle/flow_factory_grpo.py CLONE",
    versions={"torch": torch.__version__},
    functions={
        f"{GUARD}: GRPOGuardTrainer.optimize, policy_loss": guard(),
        f"{GDPO}: compute_gdpo": advantages(),
    },
).write("flow-factory-grpo")
