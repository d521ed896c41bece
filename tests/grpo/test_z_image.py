"""Z-Image's own: guidance from 0 on, texts of any length without padding, time that runs up."""

import pytest
import tiny_pipelines
from tiny_policies import config

from grpo import policies
from grpo.testing import check_policy
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import PromptLine

OWN = {"guidance": None, "height": 24, "width": 40, "max_sequence_length": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_pipelines.saved("z-image", tmp_path_factory.mktemp("pipelines"))


@pytest.mark.parametrize(("parameters", "guidance"), [("lora", 4.0), ("full", 0.0)])
def test_z_image_conforms(folder, parameters, guidance, tmp_path):
    run = config("z-image", sampler=OWN | {"guidance": guidance}, policy={"parameters": parameters})
    check_policy(policies.of(load(folder, device="cpu"), run), run, tmp_path)


@pytest.mark.parametrize(("guidance", "halves", "scale"), [(0.0, 1, 1.0), (0.5, 2, 1.5)])
def test_guidance_is_off_at_0_alone(folder, guidance, halves, scale):
    run = config("z-image", sampler=OWN | {"guidance": guidance})
    policy = policies.of(load(folder, device="cpu"), run)
    condition = policy.encode([PromptLine("", "a"), PromptLine("", "a ring")])
    assert (condition.halves, policy.scale) == (halves, scale)
    # One token for each letter, and two of the chat.
    assert condition.per_sample["mask"].sum(2)[-1].tolist() == [3, 7]
