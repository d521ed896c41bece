"""`pickscore.v1` gives the numbers of its README's code on the same random weights."""

import math

import open_clip
import pytest
import torch
from golden.clip import CURLY, LARGE_TRANSFORMERS
from golden.prompted import layout, load
from parity import (
    MOVED,
    check_pixels,
    check_scores,
    check_tokens,
    with_encoder,
    with_step,
    worst,
)
from transformers import CLIPConfig, CLIPModel

from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.preprocess import CenterCrop, Resize
from rewardkit.engine.registry import entry
from rewardkit.weights.nets.clip_layout import from_transformers

CARD = entry("pickscore").card
GOLDEN = load("pickscore.v1")


def reward(seeded, card=CARD):
    return seeded(card, activation="gelu")


def test_pixels_tokens_and_scores_are_upstreams(seeded):
    ours = reward(seeded)
    check_pixels(ours, GOLDEN)
    check_tokens(ours, GOLDEN)
    check_scores(ours, GOLDEN)


def test_a_published_checkpoint_fits():
    with torch.device("meta"):
        theirs = CLIPModel(CLIPConfig(**LARGE_TRANSFORMERS)).state_dict()
        ours = open_clip.CLIP(**open_clip.get_model_config(CARD.encoder.architecture))
    assert layout(theirs) == GOLDEN.layout
    assert layout(from_transformers(theirs)) == layout(ours.state_dict())


@pytest.mark.parametrize(
    "change",
    [
        lambda c: with_step(c, Resize, interpolation="bilinear"),
        lambda c: with_step(c, Resize, backend="tensor"),
        lambda c: with_step(c, Resize, side="squash"),
        lambda c: with_step(c, CenterCrop, half_margin="even"),
        lambda c: with_encoder(c, architecture="ViT-H-14-quickgelu"),
    ],
    ids=["bicubic", "pil", "shortest side", "crop", "activation"],
)
def test_any_other_preprocessing_gives_other_scores(change, seeded):
    assert worst(reward(seeded, change(CARD)), GOLDEN) > MOVED


def test_open_clips_cleaning_of_prompts_gives_other_tokens(seeded):
    tokenize = open_clip.get_tokenizer("ViT-H-14")
    assert CURLY in {case.prompt for case in GOLDEN.cases}
    ours = reward(seeded).extractor._tokenize
    assert not torch.equal(ours([CURLY]), tokenize([CURLY]))
    assert torch.equal(ours(["  A  caf\u00e9\n"]), tokenize(["a caf\u00e9"]))


def test_the_score_is_the_cosine_times_the_learned_scale(seeded):
    ours = reward(seeded)
    case = GOLDEN.cases[0]
    stored = float(ours.extractor._model.logit_scale)
    assert abs(math.exp(stored) - 1) > 1e-3, "a scale of 1 would hide it"
    ours.extractor.__dict__["logit_scale"] = 1.0
    cosine = worst_case(ours, case)
    assert case.score == pytest.approx(math.exp(stored) * cosine, abs=1e-5)


def worst_case(reward, case):
    from golden.clip import media

    return float(LoadedReward(reward)([media()[case.picture]], [case.prompt]))
