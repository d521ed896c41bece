"""Golden files of Flow-GRPO's and CPS's own code.

The arguments are clones of yifan123/flow_grpo and IamCreateAI/FlowCPS, a fork of it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from golden.calls import Calls, call, numbers
from upstream import commit, module, passage

torch.set_num_threads(1)
flow, cps = map(Path, sys.argv[1:])
PATCH = "flow_grpo/diffusers_patch/sd3_sde_with_logprob.py"
SCRIPT = "scripts/train_sd3.py"
TRACKER = "flow_grpo/stat_tracking.py"
AVERAGE = "flow_grpo/ema.py"
kl_loss = passage(flow / SCRIPT, "kl_loss = ((prev_sample_mean", "kl_loss = torch.mean")


def steps(clone: Path, levels: list[float]) -> list:
    patch = module(clone / PATCH)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(10)
    calls = []
    for seed, (first, level) in enumerate(zip([0, 4, 7], levels, strict=True)):
        velocity, sample, x_next, noise = (
            numbers(2000 + 4 * seed + i, 2, 2, 2, 3) for i in range(4)
        )
        # Two samples of a batch, at sigmas of their own.
        given = (scheduler, velocity, scheduler.timesteps[first : first + 2], sample, level)
        patch.randn_tensor = lambda *_, noise=noise, **__: noise
        drawn, _, mean, std = patch.sde_step_with_logprob(*given)
        _, log_prob, *_ = patch.sde_step_with_logprob(*given, prev_sample=x_next)
        arguments = {"velocity": velocity, "sample": sample, "x_next": x_next, "noise": noise}
        arguments |= {"first": first, "noise_level": level}
        results = {"drawn": drawn, "mean": mean, "std": std.flatten(), "log_prob": log_prob}
        calls.append(call(arguments, results))
    return calls


def advantages() -> list:
    tracking = module(flow / TRACKER)
    calls = []
    for seed, scale in enumerate(["group", "batch", "group"]):
        rewards = numbers(2100 + seed, 3, 4)
        tracker = tracking.PerPromptStatTracker(global_std=scale == "batch")
        values = tracker.update(np.repeat(["a", "b", "c"], 4), rewards.flatten().numpy())
        results = {"advantages": torch.tensor(values).view(3, 4)}
        calls.append(call({"rewards": rewards, "scale": scale}, results))
    return calls


def penalties() -> list:
    calls = []
    for seed in range(2):
        mean, reference = (numbers(2200 + 2 * seed + i, 2, 2, 2, 3) for i in range(2))
        std = torch.tensor([0.25, 0.5]) / (1 + seed)
        space = {"torch": torch, "prev_sample_mean": mean, "prev_sample_mean_ref": reference}
        space["std_dev_t"] = std.view(-1, 1, 1, 1)
        exec(kl_loss, space)
        arguments = {"mean": mean, "mean_ref": reference, "std": std}
        calls.append(call(arguments, {"kl": space["kl_loss"]}))
    return calls


def averages() -> list:
    """The average of a weight that is s after update s, as the two scripts step it.

    scripts/train_sd3.py of flow_grpo, its configuration of 32 GPUs: 4 batches an epoch, an update
    after each second one, and `ema.step` after every batch. scripts/train_nft_sd3.py of
    NVlabs/DiffusionNFT, whose class is the same: an update and `ema.step` after it.
    """
    calls = []
    for interval, batches in ((8, 2), (1, 1)):
        weight = torch.nn.Parameter(torch.zeros(()))
        ema = module(flow / AVERAGE).EMAModuleWrapper([weight], 0.9, interval)
        seen = []
        for update in range(1, 401):
            weight.data += 1
            for _ in range(batches):  # the one of the update, and those before the next
                ema.step([weight], update)
            seen.append(ema.ema_parameters[0].item())
        arguments = {"interval": interval, "batches_per_update": batches}
        calls.append(call(arguments, {"averages": torch.tensor(seen)}))
    return calls


def golden(clone: Path, name: str, functions: dict[str, list]) -> Calls:
    return Calls(
        upstream=f"{name}@{commit(clone)}",
        command="PYTHONPATH=.:tests python tests/oracle/flow_grpo.py CLONE CPS_CLONE",
        versions={"torch": torch.__version__, "diffusers": diffusers.__version__},
        functions=functions,
    )


golden(
    flow,
    "yifan123/flow_grpo",
    {
        f"{PATCH}: sde_step_with_logprob": steps(flow, [0.7, 0.7, 0.9]),
        f"{TRACKER}: PerPromptStatTracker.update": advantages(),
        f"{SCRIPT}: main, kl_loss": penalties(),
        f"{AVERAGE}: EMAModuleWrapper.step": averages(),
    },
).write("flow-grpo")
golden(
    cps, "IamCreateAI/FlowCPS", {f"{PATCH}: sde_step_with_logprob": steps(cps, [0.8, 0.5, 0.8])}
).write("flow-cps")
