"""SkyReels V1: clips from a first frame, whose latents a group shares."""

import pytest
import tiny_videos
import torch
from tiny_policies import config, sampling

from grpo import policies, ready
from grpo.preview import Model
from grpo.rollout import Plan, collect
from grpo.testing import check_policy
from grpo.testing.pipelines import lines
from rewardkit.errors import InputError
from rewardkit.generators.pipelines import load
from rewardkit.media.images import write_image
from rewardkit.media.prompts import PromptLine, read

OBLONG = {"height": 16, "width": 32}
TRUE = {"true_guidance": 4.0, "negative_prompt": ""}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_videos.saved("skyreels", tmp_path_factory.mktemp("pipelines"))


def made(folder, **sampler):
    return policies.of(load(folder, device="cpu"), config("skyreels", sampler=OBLONG | sampler))


@pytest.mark.parametrize(("parameters", "guidance"), [("lora", TRUE), ("full", {})])
def test_skyreels_conforms(folder, parameters, guidance, tmp_path):
    run = config("skyreels", sampler=OBLONG | guidance, policy={"parameters": parameters})
    check_policy(policies.of(load(folder, device="cpu"), run), run, tmp_path)


def test_the_latents_of_the_first_frame_are_drawn_once_for_a_group(folder):
    policy = made(folder)
    sampler = sampling("skyreels", **OBLONG, group_size=2)

    def first_frames(*keys):
        plan = Plan(frozenset(), torch.zeros(2, 0, dtype=torch.long))
        rollout = collect(policy, policy.schedule(sampler), lines()[:2], sampler, plan, keys)
        return rollout.condition_of(torch.arange(4)).per_sample["first_frame"][0]

    drawn = first_frames(0, 0)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[1], drawn[2])
    assert not drawn[:, :, 1:].any(), "frames after the first are zeros"
    assert torch.equal(drawn, first_frames(0, 0))
    assert not torch.equal(drawn, first_frames(0, 1)), "another step draws others"


def test_the_first_frame_makes_the_difference(folder):
    policy = made(folder)
    one, _, other = lines()
    assert one.prompt == other.prompt
    x = policy.noise([torch.Generator().manual_seed(0)])
    with torch.no_grad():
        outputs = [policy.predict(x, torch.tensor([500]), policy.encode([n])) for n in (one, other)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-3


def test_a_line_without_a_first_frame_is_named(folder):
    with pytest.raises(InputError, match=r"prompts\.jsonl, line 3: it names no first frame"):
        made(folder).encode([PromptLine("prompts.jsonl, line 3", "a ring")])


def test_first_frames_are_checked_before_a_run(folder, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "a ring", "image": "there.png"}\n')
    run = config("skyreels").model_copy(update={"reward": "motion-smoothness"})
    model = Model(str(folder), "HunyuanSkyreelsImageToVideoPipeline", folder)
    with pytest.raises(InputError, match=r"line 1: the first frame .*there\.png"):
        ready.check(run, read(tmp_path / "p.jsonl"), None, model)
    write_image(torch.zeros(3, 8, 8, dtype=torch.uint8), tmp_path / "there.png")
    ready.check(run, read(tmp_path / "p.jsonl"), None, model)
