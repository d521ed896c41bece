"""Golden file of DanceGRPO's own code; the argument is a clone of XueZeyue/DanceGRPO."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from golden.calls import Calls, call, numbers
from upstream import commit, function, passage

torch.set_num_threads(1)
clone = Path(sys.argv[1])
FLUX = clone / "fastvideo/train_grpo_flux.py"
HUNYUAN = clone / "fastvideo/train_grpo_hunyuan.py"
flux_step = function(FLUX, "flux_step", torch=torch, math=math)
time_shift = function(FLUX, "sd3_time_shift")
as_timesteps = passage(FLUX, "timestep_value = [", "timestep_value = [")
group_advantages = passage(FLUX, 'n = len(samples["rewards"])', 'samples["advantages"] =')
surrogate = passage(FLUX, "advantages = torch.clamp(", "loss = torch.mean(")
best_of_n = passage(HUNYUAN, "total_scores =", "selected_indices = torch.cat(")


def schedule(steps: int, shift: float) -> torch.Tensor:
    return time_shift(shift, torch.linspace(1, 0, steps + 1))


def sigmas() -> list:
    calls = []
    for steps, shift in [(16, 3.0), (12, 3.0), (16, 5.0), (16, 7.0), (20, 3.0), (50, 1.0)]:
        space = {"args": SimpleNamespace(sampling_steps=steps)}
        space["sigma_schedule"] = schedule(steps, shift)
        exec(as_timesteps, space)
        results = {"sigmas": space["sigma_schedule"], "timesteps": space["timestep_value"]}
        calls.append(call({"steps": steps, "shift": shift}, results))
    return calls


def steps() -> list:
    calls = []
    for seed, (shift, index, eta) in enumerate(
        [(3.0, 0, 0.3), (3.0, 7, 0.3), (3.0, 15, 0.3), (5.0, 0, 0.25), (7.0, 14, 0.3)]
    ):
        velocity, sample, x_next = (numbers(3 * seed + i, 2, 2, 3) for i in range(3))
        along = schedule(16, shift)
        given = {"model_output": velocity, "latents": sample, "eta": eta, "sigmas": along}
        given |= {"index": index, "sde_solver": True}
        mean, x0 = flux_step(**given, prev_sample=None, grpo=False)
        *_, log_prob = flux_step(**given, prev_sample=x_next, grpo=True)
        arguments = {"velocity": velocity, "sample": sample, "x_next": x_next, "eta": eta}
        arguments |= {"sigma": along[index], "sigma_next": along[index + 1]}
        calls.append(call(arguments, {"mean": mean, "x0": x0, "log_prob": log_prob}))
    return calls


def advantages() -> list:
    calls = []
    for seed, (prompts, group) in enumerate([(1, 12), (3, 4), (2, 16)]):
        rewards = numbers(100 + seed, prompts, group)
        space = {"torch": torch, "args": SimpleNamespace(num_generations=group)}
        space["samples"] = {"rewards": rewards.flatten()}
        exec(group_advantages, space)
        values = space["advantages"].view(prompts, group)
        calls.append(call({"rewards": rewards}, {"advantages": values}))
    return calls


def losses() -> list:
    calls = []
    for seed, clip_range in enumerate([1e-4, 0.2, 0.2]):
        # The third has advantages that the clamp cuts.
        advantage = numbers(200 + seed, 8) * (1 if seed < 2 else 4)
        old = numbers(210 + seed, 8)
        log_prob = (old + 0.2 * numbers(220 + seed, 8)).requires_grad_()
        sample = {"advantages": advantage, "log_probs": old[:, None]}
        space = {"torch": torch, "sample": sample, "_": 0, "new_log_probs": log_prob}
        space |= {"adv_clip_max": 5.0, "clip_range": clip_range, "train_timesteps": 1}
        space["args"] = SimpleNamespace(gradient_accumulation_steps=1)
        exec(surrogate, space)
        (gradient,) = torch.autograd.grad(space["loss"], log_prob)
        arguments = {"log_prob": log_prob.detach(), "old_log_prob": old, "advantage": advantage}
        arguments |= {"clip_range": clip_range, "advantage_clip": 5.0}
        results = {"loss": space["loss"].detach(), "gradient": gradient}
        calls.append(call(arguments, results))
    return calls


def selections() -> list:
    calls = []
    for seed, (group, keep) in enumerate([(24, 8), (16, 4), (9, 2)]):
        vq, mq = numbers(300 + seed, group), numbers(310 + seed, group)
        space = {"torch": torch, "samples": {"vq_advantages": vq, "mq_advantages": mq}}
        space["args"] = SimpleNamespace(vq_coef=1.0, mq_coef=0.5, bestofn=keep)
        exec(best_of_n, space)
        arguments = {"scores": space["total_scores"][None], "best": keep // 2, "worst": keep // 2}
        chosen = space["selected_indices"].sort().values[None]
        calls.append(call(arguments, {"chosen": chosen}))
    return calls


Calls(
    upstream=f"XueZeyue/DanceGRPO@{commit(clone)}",
    command="PYTHONPATH=.:tests python tests/oracle/dancegrpo.py CLONE",
    versions={"torch": torch.__version__},
    functions={
        "fastvideo/train_grpo_flux.py: sd3_time_shift": sigmas(),
        "fastvideo/train_grpo_flux.py: flux_step": steps(),
        "fastvideo/train_grpo_flux.py: train_one_step, advantages": advantages(),
        "fastvideo/train_grpo_flux.py: train_one_step, loss": losses(),
        "fastvideo/train_grpo_hunyuan.py: train_one_step, best-of-n": selections(),
    },
).write("dancegrpo")
