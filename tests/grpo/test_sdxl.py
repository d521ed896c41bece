"""SDXL: sizes as an input of the network, zeros or a text in place of the prompt."""

import pytest
import tiny_pipelines
import torch
from tiny_policies import config, inputs, sampling

from grpo import policies
from grpo.testing import check_policy, check_sampling
from rewardkit.errors import UsageError
from rewardkit.generators.pipelines import load

GUIDED = {"guidance": 4.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_pipelines.saved("sdxl", tmp_path_factory.mktemp("pipelines"))


def made(folder, **sampler):
    return policies.of(load(folder, device="cpu"), config("sdxl", sampler=sampler))


@pytest.mark.parametrize("guidance", [1.0, 4.0], ids=["plain", "guided"])
@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_sdxl_conforms(folder, parameters, guidance, tmp_path):
    changes = {"guidance": guidance, "height": 24, "width": 40}
    run = config("sdxl", sampler=changes, policy={"parameters": parameters})
    check_policy(policies.of(load(folder, device="cpu"), run), run, tmp_path)


@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("negative", [None, "", "two"])
def test_what_guidance_leads_away_from_is_the_pipelines(folder, zeros, negative):
    policy = made(folder, **GUIDED, negative_prompt=negative)
    policy.pipeline.diffusers.register_to_config(force_zeros_for_empty_prompt=zeros)
    check_sampling(policy, sampling("sdxl", **GUIDED))
    without = inputs(policy)[2].per_sample["text_embeds"][0]
    assert bool(without.any()) != (zeros and negative is None)


def test_the_size_is_an_input(folder):
    policy = made(folder, height=24, width=40)
    x, timesteps, condition = inputs(policy)
    assert condition.shared["time_ids"].tolist() == [24, 40, 0, 0, 24, 40]
    larger = {"time_ids": torch.tensor([24.0, 80, 0, 0, 24, 80])}
    other = type(condition)(condition.per_sample, larger)
    with torch.no_grad():
        difference = policy.predict(x, timesteps, condition) - policy.predict(x, timesteps, other)
    assert difference.abs().max() > 1e-4


def test_a_latent_consistency_model_is_refused(folder):
    pipeline = load(folder, device="cpu")
    pipeline.diffusers.unet.register_to_config(time_cond_proj_dim=8)
    with pytest.raises(UsageError, match="latent consistency model"):
        policies.of(pipeline, config("sdxl"))
