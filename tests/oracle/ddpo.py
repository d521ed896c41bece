"""Golden file of DDPO's own code; the argument is a clone of kvablack/ddpo-pytorch."""

from __future__ import annotations

import sys
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler
from diffusers.utils import torch_utils
from golden.calls import Calls, call, numbers
from upstream import commit, module

torch.set_num_threads(1)
clone = Path(sys.argv[1])
# Where upstream's diffusers 0.17 had it.
diffusers.utils.randn_tensor = torch_utils.randn_tensor
patch = module(clone / "ddpo_pytorch/diffusers_patch/ddim_with_logprob.py")
tracking = module(clone / "ddpo_pytorch/stat_tracking.py")


def steps() -> list:
    calls = []
    for seed, (steps, first, eta, prediction) in enumerate(
        [
            (50, 0, 1.0, "epsilon"),
            (50, 24, 1.0, "epsilon"),
            (50, 48, 0.5, "epsilon"),
            (20, 3, 1.0, "v_prediction"),
        ]
    ):
        scheduler = DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            set_alpha_to_one=False,
            steps_offset=1,
            clip_sample=False,
            prediction_type=prediction,
        )
        scheduler.set_timesteps(steps)
        output, sample, x_next, noise = (numbers(1000 + 4 * seed + i, 2, 2, 3) for i in range(4))
        # Two samples of a batch, at timesteps of their own.
        given = (scheduler, output, scheduler.timesteps[first : first + 2], sample)
        patch.randn_tensor = lambda *_, noise=noise, **__: noise
        drawn, _ = patch.ddim_step_with_logprob(*given, eta=eta)
        _, log_prob = patch.ddim_step_with_logprob(*given, eta=eta, prev_sample=x_next)
        arguments = {"model_output": output, "sample": sample, "x_next": x_next, "noise": noise}
        arguments |= {"eta": eta, "prediction": prediction, "steps": steps, "first": first}
        calls.append(call(arguments, {"drawn": drawn, "log_prob": log_prob}))
    return calls


def advantages() -> list:
    calls = []
    for seed, (scope, least) in enumerate([("batch", 5), ("group", 4), ("group", 4)]):
        rewards = numbers(1100 + seed, 3, 4)
        tracker = tracking.PerPromptStatTracker(buffer_size=16, min_count=least)
        values = tracker.update(np.repeat(["a", "b", "c"], 4), rewards.flatten().numpy())
        results = {"advantages": torch.tensor(values).view(3, 4)}
        calls.append(call({"rewards": rewards, "scope": scope}, results))
    return calls


def histories() -> list:
    """Four training steps each, whose prompts differ in how often they occur."""
    calls = []
    for seed, (size, least) in enumerate([(8, 4), (16, 16), (6, 2)]):
        tracker = tracking.PerPromptStatTracker(buffer_size=size, min_count=least)
        steps = []
        for step, prompts in enumerate([["a", "b"], ["a", "c"], ["a", "a"], ["b", "a"]]):
            rewards = numbers(1200 + 10 * seed + step, 2, 3)
            values = tracker.update(np.repeat(prompts, 3), rewards.flatten().numpy())
            steps.append([prompts, rewards.tolist(), torch.tensor(values).view(2, 3).tolist()])
        calls.append(call({"size": size, "least": least}, {"steps": steps}))
    return calls


Calls(
    upstream=f"kvablack/ddpo-pytorch@{commit(clone)}",
    command="PYTHONPATH=.:tests python tests/oracle/ddpo.py CLONE",
    versions={"torch": torch.__version__, "diffusers": diffusers.__version__},
    functions={
        "ddpo_pytorch/diffusers_patch/ddim_with_logprob.py: ddim_step_with_logprob": steps(),
        "ddpo_pytorch/stat_tracking.py: PerPromptStatTracker.update": advantages(),
        "ddpo_pytorch/stat_tracking.py: PerPromptStatTracker, over steps": histories(),
    },
).write("ddpo")
