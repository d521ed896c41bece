"""Qwen-Image's own: true guidance, texts of any length, tokens, a last sigma of its scheduler."""

import pytest
import tiny_pipelines
import torch
from tiny_policies import config, sampling

from grpo import policies
from grpo.testing import check_policy
from rewardkit.errors import UsageError
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import PromptLine

OWN = {"guidance": None, "height": 24, "width": 40, "max_sequence_length": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_pipelines.saved("qwen-image", tmp_path_factory.mktemp("pipelines"))


def made(folder, **sampler):
    return policies.of(load(folder, device="cpu"), config("qwen-image", sampler=OWN | sampler))


@pytest.mark.parametrize(("parameters", "true_guidance"), [("lora", 4.0), ("full", 1.0)])
def test_qwen_image_conforms(folder, parameters, true_guidance, tmp_path):
    run = config(
        "qwen-image",
        sampler=OWN | {"true_guidance": true_guidance},
        policy={"parameters": parameters},
    )
    check_policy(policies.of(load(folder, device="cpu"), run), run, tmp_path)


def test_samples_are_tokens_drawn_as_latents(folder):
    policy = made(folder)
    noise = policy.noise([torch.Generator().manual_seed(0)])
    assert noise.shape == (1, 3 * 5, 16)
    latents = torch.randn(4, 6, 10, generator=torch.Generator().manual_seed(0))
    # The first token is the first square of 2 x 2, channel by channel.
    assert torch.equal(noise[0, 0], latents[:, :2, :2].flatten())


def test_a_text_is_as_long_as_its_tokens_and_masked_where_it_is_shorter(folder):
    policy = made(folder, true_guidance=4.0, negative_prompt="not this")
    texts = ("a", "a ring", "a")
    condition = policy.encode([PromptLine("", text) for text in texts])
    mask = condition.per_sample["encoder_hidden_states_mask"]
    lengths = [5 + len(text.replace(" ", "")) for text in texts]
    assert mask.sum(2)[1].tolist() == lengths
    assert mask.sum(2)[0].tolist() == [5 + len("notthis")] * 3
    # Padding is zeros, so that texts of any length are one tensor.
    states = condition.per_sample["encoder_hidden_states"]
    assert not states[mask == 0].any() and states[mask == 1].any(-1).all()


def test_guidance_keeps_the_norm_of_each_token(folder):
    guided, plain = made(folder, true_guidance=4.0), made(folder, true_guidance=1.0)
    x = guided.noise([torch.Generator().manual_seed(0)])
    lines = [PromptLine("", "a red ring")]
    with torch.no_grad():
        outputs = [p.predict(x, torch.tensor([500.0]), p.encode(lines)) for p in (guided, plain)]
    torch.testing.assert_close(*(output.norm(dim=-1) for output in outputs))
    assert (outputs[0] - outputs[1]).abs().max() > 1e-2


def test_the_last_step_starts_where_the_scheduler_says(folder):
    policy = made(folder)
    sigmas = policy.schedule(sampling("qwen-image", **OWN)).sigmas
    assert sigmas[-2].item() == pytest.approx(0.02, abs=1e-6)
    scheduler = policy.pipeline.diffusers.scheduler
    scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25], mu=0.5 + 0.4 * (15 - 4) / 60)
    torch.testing.assert_close(sigmas, scheduler.sigmas)


def test_a_shift_of_the_run_takes_the_place_of_all_that_the_scheduler_shifts(folder):
    # XueZeyue/DanceGRPO fastvideo/train_grpo_qwenimage.py: sd3_time_shift.
    even = torch.linspace(1, 0, 5)
    changes = {"schedule": "uniform", "shift": 3.0}
    sigmas = made(folder).schedule(sampling("qwen-image", **OWN, **changes)).sigmas
    torch.testing.assert_close(sigmas, 3 * even / (1 + 2 * even))


def test_guidance_by_another_name_is_refused(folder):
    with pytest.raises(UsageError, match="does not use guidance_scale"):
        made(folder, guidance=4.0)


@pytest.mark.parametrize(("length", "tokens"), [(1024, 605), (64, 64)])
def test_texts_may_be_twice_as_long_as_elsewhere(folder, length, tokens):
    policy = made(folder, max_sequence_length=length)
    mask = policy.encode([PromptLine("", "a " * 600)]).per_sample["encoder_hidden_states_mask"]
    assert mask.sum(2)[-1].tolist() == [tokens]
