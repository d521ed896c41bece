"""`imagereward.v1` gives the numbers of upstream's own code on the same random weights."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch
from golden.prompted import fill, layout, load, sample
from pictures import twelve

from rewardkit.engine.card import RewardCard
from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import Normalize, Resize
from rewardkit.errors import WeightsError
from rewardkit.media.batch import Sample
from rewardkit.records.provenance import sha256_file
from rewardkit.rewards import imagereward
from rewardkit.rewards.imagereward import CARD, TINY_VOCABULARY, ImageReward
from rewardkit.weights.nets.blip import LARGE, BlipJudge, without_unread
from rewardkit.weights.nets.blip import tiny as small

ATOL = 1e-5
GOLDEN = load("imagereward.v1")
MEDIA = [twelve()[case.picture] for case in GOLDEN.cases]
PROMPTS = [case.prompt for case in GOLDEN.cases]
EXPECTED = torch.tensor([case.score for case in GOLDEN.cases])


def seeded(card: RewardCard = CARD) -> ImageReward:
    """The tiny reward on the weights that upstream's code was given."""
    reward = ImageReward.load(card, Loader("cpu", tiny=True))
    reward.network.load_state_dict(fill(reward.network.state_dict()))
    return reward


def with_step(kind, **change):
    """The card with one step of the preprocessing changed."""
    steps = tuple(
        dataclasses.replace(step, **change) if isinstance(step, kind) else step
        for step in CARD.preprocess
    )
    return CARD.model_copy(update={"preprocess": steps})


def unread(vision, text):
    """What upstream's checkpoint holds besides."""
    return {
        "blip.vision_proj.weight": torch.zeros(256, vision),
        "blip.vision_proj.bias": torch.zeros(256),
        "blip.text_proj.weight": torch.zeros(256, text),
        "blip.text_proj.bias": torch.zeros(256),
        "blip.text_encoder.embeddings.position_ids": torch.arange(512)[None],
    }


def worst(reward):
    return float((LoadedReward(reward)(MEDIA, PROMPTS) - EXPECTED).abs().max())


def test_scores_are_upstreams_on_the_same_weights():
    assert len(GOLDEN.cases) >= 12 and GOLDEN.spread >= 100 * ATOL
    assert worst(seeded()) <= ATOL


def test_in_bfloat16_the_head_stays_exact():
    reward = ImageReward.load(CARD, Loader("cpu", "bfloat16", tiny=True))
    reward.network.load_state_dict(fill(reward.network.state_dict()))
    assert {p.dtype for p in reward.network.mlp.parameters()} == {torch.float32}
    # bfloat16 has 8 bits: scores within about 1 % of their spread, and not equal by accident.
    assert 1e-4 < worst(reward) < 0.02 * GOLDEN.spread


def test_tokens_are_upstreams():
    ids, mask = seeded().tokens(PROMPTS)
    assert ids.tolist() == [case.ids for case in GOLDEN.cases]
    padding = TINY_VOCABULARY.index("[PAD]")
    assert mask.tolist() == [[int(i != padding) for i in case.ids] for case in GOLDEN.cases]
    assert min(mask.sum(1)) < 35 == max(mask.sum(1)), "one prompt is padded, one is cut"


def test_pixels_are_upstreams():
    reward = seeded()
    pixels = reward.pixels([reward.prepare(Sample(medium)) for medium in MEDIA])
    for got, case in zip(pixels, GOLDEN.cases, strict=True):
        assert sample(got) == pytest.approx(case.pixels, rel=0, abs=1e-6)


@pytest.mark.parametrize(
    "card",
    [
        with_step(Resize, interpolation="bilinear"),
        with_step(Resize, backend="tensor"),
        with_step(Resize, side="squash"),
        with_step(Normalize, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    ],
    ids=["bilinear", "tensor", "squash", "normalize"],
)
def test_another_preprocessing_gives_other_scores(card):
    assert worst(seeded(card)) > 10 * ATOL


def test_another_prompt_length_gives_other_scores(monkeypatch):
    monkeypatch.setattr(imagereward, "_TOKENS", 34)
    assert worst(seeded()) > 10 * ATOL


def test_blips_own_tokens_follow_the_vocabulary():
    ids, _ = seeded().tokens(["[DEC] a [ENC]"])
    size = len(TINY_VOCABULARY)
    assert ids[0, 1].item() == size and ids[0, 3].item() == size + 1


def test_a_checkpoint_of_upstreams_layout_loads_and_any_other_is_refused(tmp_path):
    tiny = ImageReward.load(CARD, Loader("cpu", tiny=True))
    state = fill(tiny.network.state_dict())
    state |= unread(vision=64, text=48)
    size = small(len(TINY_VOCABULARY) + 2)

    def loaded(state):
        torch.save(state, tmp_path / "own.pt")
        loader = Loader("cpu", weights={"imagereward.v1": tmp_path / "own.pt"})
        return loader.module(lambda: BlipJudge(size), imagereward.WEIGHTS, without_unread)

    assert torch.equal(loaded(state).mlp["layers"][7].bias, state["mlp.layers.7.bias"])
    with pytest.raises(WeightsError, match=r"1 missing \(blip\.visual_encoder\.cls_token\)"):
        loaded({k: v for k, v in state.items() if k != "blip.visual_encoder.cls_token"})
    with pytest.raises(WeightsError, match=r"1 unexpected \(blip\.itm_head\.bias\)"):
        loaded(state | {"blip.itm_head.bias": torch.zeros(2)})


def test_the_published_size_is_upstreams_to_the_last_tensor():
    with torch.device("meta"):
        ours = BlipJudge(LARGE).state_dict()
    assert layout(ours | unread(vision=1024, text=768)) == GOLDEN.layout


def test_a_file_that_is_another_vocabulary_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(TINY_VOCABULARY) + "\n", "utf-8")
    loader = Loader("cpu", weights={"imagereward.vocabulary": tmp_path / "vocab.txt"})
    with pytest.raises(WeightsError, match=rf"{len(TINY_VOCABULARY)} tokens.*has 30522"):
        ImageReward.load(CARD, loader)


@pytest.mark.data
def test_the_published_pictures_are_upstreams():
    folder = Path(os.environ["REWARDKIT_TEST_DATA"], "imagereward")
    assert {score.picture: score.sha256 for score in CARD.published} == {
        path.name: sha256_file(path) for path in folder.glob("*.webp")
    }
