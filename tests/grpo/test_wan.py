"""Wan: clips with classifier-free guidance, steps of the sigmas of a multistep scheduler."""

import pytest
import tiny_videos
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tiny_policies import config, inputs, sampling

from grpo import policies
from grpo.testing import check_policy, check_sampling
from rewardkit.errors import UsageError
from rewardkit.generators.pipelines import load

OBLONG = {"height": 16, "width": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_videos.saved("wan", tmp_path_factory.mktemp("pipelines"))


def made(folder, **sampler):
    return policies.of(load(folder, device="cpu"), config("wan", sampler=OBLONG | sampler))


@pytest.mark.parametrize(("parameters", "guidance"), [("lora", 4.0), ("full", 1.0)])
def test_wan_conforms(folder, parameters, guidance, tmp_path):
    run = config("wan", sampler={"guidance": guidance, **OBLONG}, policy={"parameters": parameters})
    check_policy(policies.of(load(folder, device="cpu"), run), run, tmp_path)


@pytest.mark.parametrize(("parameters", "guidance"), [("lora", 4.0), ("full", 1.0)])
def test_wan_from_a_first_frame_conforms(parameters, guidance, tmp_path):
    own = tiny_videos.saved("wan-i2v", tmp_path)
    sampler = {"guidance": guidance, **OBLONG}
    run = config("wan-i2v", sampler=sampler, policy={"parameters": parameters})
    check_policy(policies.of(load(own, device="cpu"), run), run, tmp_path / "saved")


def test_texts_of_another_length_would_hide_the_first_frame(tmp_path):
    own = load(tiny_videos.saved("wan-i2v", tmp_path), device="cpu")
    with pytest.raises(UsageError, match="Set it to 512"):
        policies.of(own, config("wan-i2v", sampler={"max_sequence_length": 16}))


def test_each_token_may_have_its_own_timestep(folder):
    policy = made(folder, guidance=4.0)
    policy.pipeline.diffusers.register_to_config(expand_timesteps=True)
    check_sampling(policy, sampling("wan", guidance=4.0, **OBLONG))


def test_training_all_weights_in_bfloat16_warns_of_nothing(folder):
    run = config("wan", sampler=OBLONG, policy={"parameters": "full", "dtype": "bfloat16"})
    policy = policies.of(load(folder, device="cpu"), run)
    torch.set_warn_always(True)  # else a test before this one may have had the one warning
    try:
        policy.predict(*inputs(policy)).sum().backward()
    finally:
        torch.set_warn_always(False)


def test_another_scheduler_is_walked_by_its_own_sigmas(folder):
    policy = made(folder)
    policy.pipeline.diffusers.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    check_sampling(policy, sampling("wan", **OBLONG))


def test_the_steps_are_those_of_its_scheduler(folder):
    schedule = made(folder).schedule(sampling("wan", steps=5))
    # Shift 5 of even sigmas from 1 to 1/1000: u = 1, .8002, .6004, .4006, .2008.
    even = torch.linspace(1, 1 / 1000, 6)[:-1]
    torch.testing.assert_close(schedule.sigmas[:-1], 5 * even / (1 + 4 * even), rtol=0, atol=1e-5)
    assert schedule.sigmas[0] == 1 and schedule.sigmas[-1] == 0
    assert schedule.timesteps.tolist() == [999, 952, 882, 769, 556]
    own = made(folder).schedule(sampling("wan", steps=5, shift=1.0, schedule="uniform"))
    torch.testing.assert_close(own.sigmas, torch.linspace(1, 0, 6))


def test_two_networks_are_refused(folder):
    pipeline = load(folder, device="cpu")
    pipeline.diffusers.register_modules(transformer_2=pipeline.diffusers.transformer)
    with pytest.raises(UsageError, match=r"one network for much noise.*Wan 2\.1.*wan2\.2-5b"):
        policies.of(pipeline, config("wan"))
