"""Our schedules are those that diffusers' pipelines compute from their published schedulers."""

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux import pipeline_flux
from diffusers.pipelines.qwenimage import pipeline_qwenimage
from diffusers.pipelines.stable_diffusion_3 import pipeline_stable_diffusion_3
from tiny_policies import sampling

from grpo.sampler import FlowSampler
from grpo.schedules import linear_shift
from rewardkit.errors import UsageError

BY_SIZE = {"use_dynamic_shifting": True, "base_image_seq_len": 256, "base_shift": 0.5}
# scheduler/scheduler_config.json of https://huggingface.co/stabilityai/stable-diffusion-3.5-medium,
# black-forest-labs/FLUX.1-dev, black-forest-labs/FLUX.1-schnell and Qwen/Qwen-Image.
SCHEDULERS = {
    "sd3": {"shift": 3.0},
    "flux-dev": {**BY_SIZE, "shift": 3.0, "max_image_seq_len": 4096, "max_shift": 1.15},
    "flux-schnell": {
        **BY_SIZE,
        "use_dynamic_shifting": False,
        "shift": 1.0,
        "max_image_seq_len": 4096,
        "max_shift": 1.15,
    },
    "qwen-image": {
        **BY_SIZE,
        "shift": 1.0,
        "max_image_seq_len": 8192,
        "max_shift": 0.9,
        "shift_terminal": 0.02,
        "time_shift_type": "exponential",
    },
}
PIPELINES = {"flux": pipeline_flux, "qwen": pipeline_qwenimage, "sd3": pipeline_stable_diffusion_3}
STEPS = [4, 5, 10, 16, 28, 50]
TOKENS = [256, 1024, 2025, 4096, 8100]


def ours(settings, steps, tokens, schedule, **changes):
    scheduler = FlowMatchEulerDiscreteScheduler(**settings)
    config = sampling("sd3", steps=steps, schedule=schedule, **changes)
    cpu, mu = torch.device("cpu"), linear_shift(scheduler.config, tokens)
    return FlowSampler.from_scheduler(scheduler, config, cpu, mu=mu).sigmas


def by_pipeline(settings, steps, tokens, module, sigmas):
    """The lines of a pipeline's __call__ between its latents and its loop."""
    scheduler = FlowMatchEulerDiscreteScheduler(**settings)
    keys = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
    given = {}
    if scheduler.config.use_dynamic_shifting or module is not pipeline_stable_diffusion_3:
        given["mu"] = module.calculate_shift(tokens, *(scheduler.config[key] for key in keys))
    number = steps if sigmas is None else None
    module.retrieve_timesteps(scheduler, number, "cpu", sigmas=sigmas, **given)
    return scheduler.sigmas


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_is_the_pipelines(name, tokens):
    settings, module = SCHEDULERS[name], PIPELINES[name.split("-")[0]]
    for steps in STEPS:
        even = np.linspace(1.0, 1 / steps, steps)
        for schedule, sigmas in (("uniform", even), ("scheduler", None)):
            theirs = by_pipeline(settings, steps, tokens, module, sigmas)
            found = ours(settings, steps, tokens, schedule)
            torch.testing.assert_close(found, theirs, rtol=0, atol=1e-6)


def test_the_schedule_of_qwen_image_ends_at_its_terminal_sigma():
    # 5 steps at 4096 tokens: e^mu u / (1 + (e^mu - 1) u) with mu 0.69355 ends at 0.33342, and is
    # stretched by (1 - 0.02) / (1 - 0.33342) about 1, so that it ends at 0.02.
    found = ours(SCHEDULERS["qwen-image"], 5, 4096, "uniform")
    expected = torch.tensor([1, 0.83670, 0.63256, 0.37006, 0.02, 0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("option", ["karras", "exponential", "beta"])
@pytest.mark.parametrize("schedule", ["uniform", "scheduler"])
def test_options_of_a_scheduler_are_kept(option, schedule):
    settings = {"shift": 3.0, f"use_{option}_sigmas": True}
    sigmas = np.linspace(1.0, 1 / 7, 7) if schedule == "uniform" else None
    theirs = by_pipeline(settings, 7, 256, pipeline_stable_diffusion_3, sigmas)
    torch.testing.assert_close(ours(settings, 7, 256, schedule), theirs, rtol=0, atol=1e-6)
    assert not torch.allclose(theirs, ours({"shift": 3.0}, 7, 256, schedule), atol=1e-3)


def test_a_shift_of_ones_own_takes_the_place_of_the_terminal_sigma():
    # As XueZeyue/DanceGRPO fastvideo/train_grpo_qwenimage.py, which asks no scheduler.
    found = ours(SCHEDULERS["qwen-image"], 4, 4096, "uniform", shift=3.0)
    plain = FlowMatchEulerDiscreteScheduler(shift=3.0)
    plain.set_timesteps(sigmas=np.linspace(1.0, 0.25, 4))
    assert torch.equal(found, plain.sigmas)


def test_sigmas_that_rise_are_refused():
    with pytest.raises(UsageError, match="invert_sigmas set: its sigmas rise from noise at 0"):
        ours({"invert_sigmas": True}, 4, 256, "uniform")
