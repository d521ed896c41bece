"""Every policy gradient of the package trains a built-in model, and resumes bit for bit."""

import pytest
import torch

from grpo.config.layers import layers
from grpo.config.resolve import resolve
from grpo.testing import objective as checks

KINDS = ("policy-gradient", "dpok")
METHODS = [layer for layer in layers("method") if layer.settings["objective.kind"] in KINDS]
SMALL = {
    "reward": "sharpness",
    "prompts": "package:rewardkit.shapes/lists/train.jsonl",
    "steps": 2,
    "sampler.steps": 4,
    "sampler.prompts_per_step": 2,
    "sampler.batch_size": 4,
    "optim.lr": 1e-3,
}


def small(method):
    """Two training steps of 2 prompts with 4 samples each, or of 8 prompts."""
    own, rule = method.settings, method.settings["sampler.rule"]
    settings = SMALL | {"model": "shapes-sd" if rule == "ddim" else "shapes-flow"}
    if own["sampler.group_size"] > 1:
        settings["sampler.group_size"] = 4
    else:
        settings["sampler.prompts_per_step"] = 8
    if own.get("advantage.baseline") == "history":
        settings |= {"advantage.history": 8, "advantage.history_min": 8}
    if own["objective.updates"] > 2:
        settings["objective.updates"] = 2
    if own.get("sampler.stochastic") == "window":
        settings |= {"sampler.window_size": 2, "sampler.window_within": 3}
    if "sampler.window_every" in own:
        settings["sampler.window_every"] = 1
    return resolve(method=method.name, settings=settings).config


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_trains_and_resumes_bit_for_bit(method, tmp_path):
    torch.manual_seed(0)
    config = small(method)
    checks.check_step(checks.begin(config))
    checks.check_resume(config, tmp_path)
