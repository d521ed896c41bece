"""`clipscore.vit-b-32` gives the numbers of its authors' code on the same random weights."""

import open_clip
import pytest
import torch
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

from rewardkit.engine.preprocess import Resize
from rewardkit.engine.registry import entry
from rewardkit.rewards import clipscore

CARD = entry("clipscore").card
GOLDEN = load("clipscore.vit-b-32")


def test_pixels_tokens_and_scores_are_upstreams(seeded):
    reward = seeded(CARD)
    check_pixels(reward, GOLDEN)
    check_tokens(reward, GOLDEN, clipscore.PREFIX)
    check_scores(reward, GOLDEN)
    scores = [case.score for case in GOLDEN.cases]
    assert sum(score > 0 for score in scores) >= 8 and min(scores) == 0.0


def test_a_published_checkpoint_fits():
    with torch.device("meta"):
        ours = open_clip.CLIP(**open_clip.get_model_config(CARD.encoder.architecture))
    assert layout(ours.state_dict()) == GOLDEN.layout


@pytest.mark.parametrize(
    "change",
    [
        lambda c: with_step(c, Resize, interpolation="bilinear"),
        lambda c: with_step(c, Resize, backend="tensor", antialias=False),
        lambda c: with_step(c, Resize, side="squash"),
        lambda c: with_encoder(c, architecture="ViT-B-32"),
    ],
    ids=["bicubic", "antialias", "shortest side", "activation"],
)
def test_any_other_preprocessing_gives_other_scores(change, seeded):
    assert worst(seeded(change(CARD)), GOLDEN) > MOVED


@pytest.mark.parametrize("prefix", ["", "A photo of ", "A photo depicts"])
def test_another_prefix_gives_other_scores(prefix, seeded, monkeypatch):
    monkeypatch.setattr(clipscore, "PREFIX", prefix)
    assert worst(seeded(CARD), GOLDEN) > MOVED


def test_the_encoder_is_that_of_clip():
    assert CARD.encoder == entry("clip.vit-b-32").card.encoder
