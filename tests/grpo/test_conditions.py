"""Guidance as functions, conditions of texts that differ in length, and several networks."""

import pytest
import tiny_pipelines
import torch
from diffusers import StableDiffusionPipeline
from golden.calls import numbers
from tiny_policies import config

from grpo.export import export
from grpo.guidance import classifier_free, rescaled
from grpo.policies import Condition
from grpo.policies.stable_diffusion import StableDiffusion
from rewardkit.generators.pipelines import load

CPU = torch.device("cpu")


@pytest.mark.parametrize("guide", [classifier_free, rescaled])
def test_guidance_that_is_off_is_the_prediction_with_the_prompt(guide):
    conditional = numbers(0, 2, 3, 4)
    assert guide(None, conditional, 1.0) is conditional


def test_guidance_leads_from_one_prediction_past_the_other():
    unconditional, conditional = numbers(0, 2, 3, 4), numbers(1, 2, 3, 4)
    guided = classifier_free(unconditional, conditional, 4.0)
    torch.testing.assert_close(guided, unconditional + 4 * (conditional - unconditional))
    same = rescaled(unconditional, conditional, 4.0)
    torch.testing.assert_close(same.norm(dim=-1), conditional.norm(dim=-1))
    torch.testing.assert_close(same / same.norm(dim=-1, keepdim=True),
                               guided / guided.norm(dim=-1, keepdim=True))  # fmt: skip


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("guide", [classifier_free, rescaled])
def test_a_detached_prediction_gets_no_gradient(guide, detach):
    unconditional, conditional = (numbers(i, 1, 2, 3).requires_grad_() for i in (0, 1))
    guide(unconditional, conditional, 3.0, detach_uncond=detach).sum().backward()
    assert conditional.grad.any()
    assert (unconditional.grad is None) is detach


def text(length, seed):
    return {"states": numbers(seed, length, 2), "mask": torch.ones(length, dtype=torch.long)}


def test_texts_of_different_lengths_are_padded_to_the_longest_of_both_halves():
    without, short, long = text(4, 0), text(2, 1), text(3, 2)
    condition = Condition.of([[without, without], [short, long]], {"ids": torch.ones(5)}, CPU)
    states, mask = condition.per_sample["states"], condition.per_sample["mask"]
    assert states.shape == (2, 2, 4, 2) and mask.sum(-1).tolist() == [[4, 4], [2, 3]]
    assert torch.equal(states[1, 0, :2], short["states"]) and not states[1, 0, 2:].any()
    arguments = condition.index([1, 1, 0]).arguments()
    assert torch.equal(arguments["states"][3:], states[1, [1, 1, 0]])
    assert torch.equal(arguments["ids"], torch.ones(5))


def test_what_both_halves_share_is_kept_once():
    picture = numbers(0, 1, 3, 2)
    condition = Condition({"text": numbers(1, 2, 3, 4), "picture": picture})
    assert condition.halves == 2
    assert torch.equal(condition.arguments()["picture"], torch.cat([picture[0], picture[0]]))


def test_a_prompt_is_one_vector_whatever_its_length():
    one, other = text(4, 0), text(2, 1)
    pooled, picture = numbers(2, 5), numbers(3, 3, 2, 2)
    shared = {"pooled": pooled, "picture": picture}
    condition = Condition.of([[text(3, 4) | shared] * 2, [one | shared, other | shared]], {}, CPU)
    vectors = condition.pooled()
    assert vectors.shape == (2, 2 + 5 + 3)
    for vector, embedding in zip(vectors, (one, other), strict=True):
        torch.testing.assert_close(vector[:2], embedding["states"].mean(0))
        torch.testing.assert_close(vector[2:7], pooled)
        torch.testing.assert_close(vector[7:], picture.mean((1, 2)))
    unmasked = Condition({"states": condition.per_sample["states"]}).pooled()
    torch.testing.assert_close(unmasked[1], other["states"].sum(0) / 4)


class Two(StableDiffusion):
    """A family that trains two of its pipeline's networks."""

    parts = ("unet", "vae")


def test_a_family_may_train_several_networks(tmp_path):
    folder = tiny_pipelines.saved("sd", tmp_path)
    made = Two(load(folder, device="cpu"), config("sd", policy={"parameters": "full"}))
    trained = made.parameters()
    assert {name.partition(".")[0] for name in trained} == {"unet", "vae"}
    with torch.no_grad():
        for parameter in trained.values():
            parameter.add_(1.0)
    export(made, tmp_path / "trained", {})
    plain = StableDiffusionPipeline.from_pretrained(tmp_path / "trained")
    for part, network in made.networks.items():
        saved = getattr(plain, part).state_dict()
        assert all(torch.equal(saved[name], p) for name, p in network.named_parameters())
