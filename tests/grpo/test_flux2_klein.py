"""FLUX.2 klein: tokens with statistics of the VAE, a shift by size and steps, distilled or not."""

import pytest
import tiny_pipelines
import torch
from tiny_policies import config, sampling

from grpo import policies
from grpo.testing import check_policy
from rewardkit.errors import UsageError
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import PromptLine

OBLONG = {"height": 24, "width": 40}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("pipelines")
    names = ("flux2-klein", "flux2-klein-distilled")
    return {name: tiny_pipelines.saved(name, home) for name in names}


def made(folder, **sampler):
    return policies.of(load(folder, device="cpu"), config(folder.name, sampler=sampler))


@pytest.mark.parametrize(
    ("name", "parameters", "guidance"),
    [
        ("flux2-klein", "lora", {"guidance": 4.0}),
        ("flux2-klein", "full", {"guidance": 4.0}),
        ("flux2-klein", "lora", {}),
        ("flux2-klein-distilled", "full", {}),
    ],
)
def test_flux2_klein_conforms(folders, name, parameters, guidance, tmp_path):
    run = config(name, sampler=OBLONG | guidance, policy={"parameters": parameters})
    check_policy(policies.of(load(folders[name], device="cpu"), run), run, tmp_path)


def test_a_distilled_model_has_no_guidance(folders):
    policy = made(folders["flux2-klein-distilled"])
    assert policy.encode([PromptLine("", "a")]).halves == 1 and policy.protocol.guidance is None
    with pytest.raises(UsageError, match="does not use guidance_scale"):
        made(folders["flux2-klein-distilled"], guidance=4.0)


def test_the_shift_depends_on_tokens_and_steps(folders):
    policy = made(folders["flux2-klein"], **OBLONG)
    # 15 tokens: at 10 steps mu is 8.73809524e-05 * 15 + 1.89833333, at 200 it is
    # 0.00016927 * 15 + 0.45666666; between them, a straight line.
    low, high = 0.00016927 * 15 + 0.45666666, 8.73809524e-05 * 15 + 1.89833333
    for steps in (4, 20):
        mu = torch.tensor(low + (high - low) * (200 - steps) / 190)
        even = torch.linspace(1, 0, steps + 1)
        sigmas = policy.schedule(sampling("flux2-klein", steps=steps)).sigmas
        torch.testing.assert_close(sigmas, mu.exp() * even / (1 + (mu.exp() - 1) * even))


def test_positions_are_shared_by_the_batch(folders):
    policy = made(folders["flux2-klein"], **OBLONG)
    shared = policy.encode([PromptLine("", "a"), PromptLine("", "b")]).shared
    assert shared["img_ids"].shape == (15, 4) and shared["img_ids"][-1].tolist() == [0, 2, 4, 0]
    assert shared["txt_ids"].shape == (64, 4) and shared["txt_ids"][-1].tolist() == [0, 0, 0, 63]
