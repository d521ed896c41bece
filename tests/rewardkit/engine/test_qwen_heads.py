"""A head on a Qwen2-VL is one file: a questionnaire, a head, and the names of its files."""

import pytest
import torch
from made_rewards import card, scorer
from pictures import picture
from streamed import outcomes
from torch import nn

from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import CLIP_NORMALIZE, FitArea, ToFloat
from rewardkit.engine.reward import Reward
from rewardkit.engine.vision_language import Questionnaire, VisionLanguageJudge, load_judge
from rewardkit.weights.nets.qwen2_vl import to_patches
from rewardkit.weights.pins import Snapshot

BASE = Snapshot(name="base", repo="us/base", patterns=("*.json",), licence="MIT")
QUESTION = "How good is this picture of {prompt}? <|Reward|>"
STEPS = (FitArea(multiple=28, low=28 * 56, high=56 * 56, backend="pil"), ToFloat(), CLIP_NORMALIZE)
CARD = card("picture-judge", needs_prompt=True, preprocess=STEPS, weights=(BASE,), batch_size=2)


def head(width):
    """Mean and spread, of which the score is the mean."""
    return nn.Sequential(nn.Linear(width, 8), nn.ReLU(), nn.Linear(8, 2))


class PictureReward(Reward):
    def __init__(self, card, judge):
        self.card, self.extractor = card, judge

    @classmethod
    def load(cls, card, loader):
        questionnaire = Questionnaire(
            kind="image",
            tokens=("<|Reward|>",),
            look=lambda sample: sample.picture,
            text=lambda prompt: QUESTION.format(prompt=prompt),
        )
        loaded = load_judge(loader, BASE, questionnaire.tokens, head, dict, QUESTION)
        return cls(card, VisionLanguageJudge(loaded, questionnaire, card.preprocess))

    def score(self, batch, features):
        return features[:, 0, 0]


@pytest.fixture(scope="module")
def reward():
    return PictureReward.load(CARD, Loader("cpu", tiny=True))


PICTURES = [picture(0, 60, 60), picture(1, 200, 40), picture(2, 28, 28)]
PROMPTS = ["a cat", "a dog that runs after a cat", "rain"]


def test_a_judge_of_pictures_reads_them_with_their_prompts(reward):
    together = scorer(reward)(PICTURES, PROMPTS)["picture-judge"]
    for index, pixels in enumerate(PICTURES):
        alone = scorer(reward)([pixels], [PROMPTS[index]])["picture-judge"]
        torch.testing.assert_close(alone, together[index : index + 1], rtol=0, atol=1e-5)
    other = scorer(reward)(PICTURES, "something else")["picture-judge"]
    assert (other - together).abs().min() > 1e-3 and together.std() > 1e-3
    (bad,) = outcomes(scorer(reward), PICTURES[:1], ["<|image_pad|>"])
    assert "Remove it from the prompt" in str(bad.errors["picture-judge"])


def test_in_bfloat16_the_head_stays_exact():
    judge = PictureReward.load(CARD, Loader("cpu", "bfloat16", tiny=True)).extractor
    network = judge._loaded.network
    assert {p.dtype for p in network.rm_head.parameters()} == {torch.float32}
    assert {p.dtype for p in network.model.parameters()} == {torch.bfloat16}


# One pair of frames, 2 x 2 tokens of 2 x 2 patches: the value of a pixel tells its place.
def test_patches_of_one_token_follow_each_other():
    rows, columns = torch.arange(56.0)[:, None], torch.arange(56.0)[None]
    first = 100 * rows + columns
    frames = torch.stack([first, first + 0.5])[:, None].expand(-1, 3, -1, -1)
    patches = to_patches(frames)
    assert patches.shape == (16, 3 * 2 * 14 * 14)
    corners = [(float(p[0]) // 100, float(p[0]) % 100) for p in patches[:6]]
    assert corners == [(0, 0), (0, 14), (14, 0), (14, 14), (0, 28), (0, 42)]
    assert patches[0, 14 * 14] == 0.5, "the second frame, before the next colour"
    assert torch.equal(patches[:, : 2 * 14 * 14], patches[:, 2 * 14 * 14 : 4 * 14 * 14])
