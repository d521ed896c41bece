"""HunyuanVideo: samples are clips, guidance as an input, true guidance where it is asked for."""

import pytest
import tiny_videos
import torch
from tiny_policies import config, inputs

from grpo import policies
from grpo.testing import check_policy
from rewardkit.errors import UsageError
from rewardkit.generators.pipelines import load
from rewardkit.media.batch import Clip

OBLONG = {"height": 16, "width": 32}
TRUE = {"true_guidance": 4.0, "negative_prompt": "two"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_videos.saved("hunyuan-video", tmp_path_factory.mktemp("pipelines"))


def made(folder, **sampler):
    return policies.of(load(folder, device="cpu"), config("hunyuan-video", sampler=sampler))


@pytest.mark.parametrize(("parameters", "guidance"), [("lora", TRUE), ("full", {})])
def test_hunyuan_video_conforms(folder, parameters, guidance, tmp_path):
    sampler = {"guidance": 6.0, **OBLONG, **guidance}
    run = config("hunyuan-video", sampler=sampler, policy={"parameters": parameters})
    check_policy(policies.of(load(folder, device="cpu"), run), run, tmp_path)


def test_samples_are_clips(folder):
    policy = made(folder, frames=9, **OBLONG)
    x, _, condition = inputs(policy)
    assert x.shape == (2, 4, 3, 2, 4) and condition.halves == 1
    first, second = policy.decode(x)
    assert isinstance(first, Clip) and first.fps == 8.0
    assert first.frames.shape == (9, 3, 16, 32) and not torch.equal(first.frames, second.frames)


def test_a_number_of_frames_that_the_pipeline_would_change_is_refused(folder):
    with pytest.raises(UsageError, match="a multiple of 4, plus 1; 8 was given"):
        made(folder, frames=8)


def test_embedded_guidance_is_an_input(folder):
    policy = made(folder, guidance=6.0)
    x, timesteps, condition = inputs(policy)
    given = []
    policy.network.register_forward_pre_hook(
        lambda module, args, named: given.append(named["guidance"].tolist()), with_kwargs=True
    )
    with torch.no_grad():
        policy.predict(x, timesteps, condition)
    assert given == [[6000.0, 6000.0]]
