"""Scores with a gradient: close to those that are reported, and the gradient is theirs."""

import pytest
import torch

from rewardkit.engine.card import RewardCard
from rewardkit.engine.differentiable import check_differentiable, differentiable_scores
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import Greyscale, Resize, apply
from rewardkit.engine.registry import list_rewards, resolve
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import parse
from rewardkit.engine.straight_through import network_input
from rewardkit.errors import UsageError
from rewardkit.media.batch import Sample

PROMPTS = ("a red ring", "a blue cross")
# One of each preprocessing: PIL's resize and a crop that is rounded in either way, floats resized
# and padded, both sides squashed.
FAMILIES = ["clip.vit-b-32", "pickscore.v1", "hps.v2.1", "laion-aesthetic.v2", "shapes-clip"]


def pictures(height: int, width: int) -> torch.Tensor:
    """Noise and a soft picture, uint8 [2, 3, H, W], with room for a change in either direction."""
    source = torch.Generator().manual_seed(0)
    noise = torch.rand(3, height, width, generator=source)
    coarse = torch.rand(1, 3, 5, 5, generator=source)
    (soft,) = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (torch.stack([noise, soft]) * 215 + 20).round().to(torch.uint8)


def scored(scorer: Scorer, levels: torch.Tensor) -> torch.Tensor:
    (scores,) = scorer(list(levels), PROMPTS).values()
    return scores


@pytest.mark.parametrize("name", FAMILIES)
def test_a_score_with_a_gradient_is_the_score_and_its_gradient_is_the_scores(name):
    spec = parse(name, resolve)
    scorer = Scorer.load(spec, Loader("cpu", tiny=True))
    levels = pictures(40, 32)
    reported = scored(scorer, levels)  # first: it leaves remembered texts, which have no gradient
    pixels = (levels / 255).requires_grad_()
    samples = [Sample(None, prompt) for prompt in PROMPTS]
    (scores,) = differentiable_scores(spec, scorer.rewards, pixels, samples).values()
    size = reported.abs().mean().item()
    assert torch.allclose(scores, reported, atol=1e-5 + 1e-3 * size)

    # Differences of scores that are reported, of pictures that are a level apart.
    scores.sum().backward()
    direction = pixels.grad.sign()
    raised, lowered = ((levels + sign * direction).to(torch.uint8) for sign in (1, -1))
    difference = (scored(scorer, raised) - scored(scorer, lowered)) / 2
    gradient = (pixels.grad * direction / 255).sum(dim=(1, 2, 3))
    assert torch.allclose(gradient, difference, rtol=0.03)


# Bilinear weights are short decimals, so that many sums lie halfway between two levels.
@pytest.mark.parametrize(("interpolation", "share"), [("bicubic", 0.01), ("bilinear", 0.15)])
@pytest.mark.parametrize("shape", [(64, 64), (31, 44), (20, 16)])
def test_pils_resize_of_a_tensor_is_off_by_a_level_or_two_in_few_pixels(
    shape, interpolation, share
):
    levels = pictures(*shape)
    step = Resize(24, "shortest", interpolation, "pil")
    ours = network_input((step,), levels / 255)
    theirs = torch.stack([apply((step,), picture) for picture in levels]).float()
    gap = (ours - theirs).abs()
    assert gap.max() <= 2 and (gap > 0).float().mean() < share


def test_rounding_is_passed_straight_through():
    pixels = torch.tensor([0.5, 0.1, 1.0]).view(1, 3, 1, 1).requires_grad_()
    levels = network_input((), pixels)
    assert levels.flatten().tolist() == [128, 26, 255]  # 127.5, 25.5 to even; 255
    levels.sum().backward()
    assert pixels.grad.flatten().tolist() == [255, 255, 255]


def test_a_step_without_a_gradient_is_refused():
    with pytest.raises(UsageError, match=r"greyscale\(.*\) of the preprocessing has no gradient"):
        network_input((Greyscale(),), torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("clip+sharpness", "sharpness has no gradient to the pixels. These rewards have one: clip"),
        ("clip.frames", "clip.vit-l-14-frames has no gradient"),
        ("clip@0.3", "clip.vit-l-14@0.3 is 0 or 1 and has no gradient"),
    ],
)
def test_a_reward_without_a_gradient_is_refused_by_name(spec, message):
    with pytest.raises(UsageError) as caught:
        check_differentiable(parse(spec, resolve))
    assert message in str(caught.value)


def test_families_with_a_gradient_are_those_of_encoders_of_images():
    def of_images(card: RewardCard) -> bool:
        judged_by_detector = card.name.startswith("geneval")
        return card.encoder is not None and card.inputs == ("image",) and not judged_by_detector

    cards = list_rewards()
    assert [c.name for c in cards if c.differentiable] == [c.name for c in cards if of_images(c)]
