"""`laion-aesthetic.*` gives the numbers of its authors' code: on random heads, and on the real."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from golden.prompted import layout, load
from parity import MOVED, check_pixels, check_scores, with_encoder, with_step, worst
from pictures import twelve

from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import Resize
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import parse
from rewardkit.rewards.laion_aesthetic import head_v1, head_v2

HEADS = {
    "laion-aesthetic.v1-b-16": head_v1(512),
    "laion-aesthetic.v1-b-32": head_v1(512),
    "laion-aesthetic.v1-l-14": head_v1(768),
    "laion-aesthetic.v2": head_v2(768),
}


@pytest.mark.parametrize("name", HEADS)
def test_pixels_and_scores_are_upstreams(name, seeded):
    reward, golden = seeded(entry(name).card, [HEADS[name]]), load(name)
    check_pixels(reward, golden)
    check_scores(reward, golden)


@pytest.mark.parametrize("name", HEADS)
def test_a_published_head_fits(name):
    assert layout(HEADS[name].state_dict()) == load(name).layout


@pytest.mark.parametrize(
    "change",
    [
        lambda c: with_step(c, Resize, interpolation="bilinear"),
        lambda c: with_step(c, Resize, backend="tensor", antialias=False),
        lambda c: with_step(c, Resize, side="squash"),
        lambda c: with_encoder(c, architecture="ViT-L-14"),
    ],
    ids=["bicubic", "antialias", "shortest side", "activation"],
)
def test_any_other_preprocessing_gives_other_scores(change, seeded):
    name = "laion-aesthetic.v2"
    assert worst(seeded(change(entry(name).card), [HEADS[name]]), load(name)) > MOVED


def test_an_embedding_that_is_no_unit_vector_gives_other_scores(seeded, monkeypatch):
    name = "laion-aesthetic.v2"
    reward = seeded(entry(name).card, [HEADS[name]])
    unit = reward.extractor.encode_image
    monkeypatch.setattr(reward.extractor, "encode_image", lambda pixels: 1.01 * unit(pixels))
    assert worst(reward, load(name)) > MOVED


# An affine map f has f(a) + f(b) = f(a + b) + f(0).
def test_the_head_of_v2_is_affine():
    head = head_v2(8).eval()
    a, b = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(head(a) + head(b), head(a + b) + head(0 * a))


def test_clip_and_its_aesthetic_head_run_one_encoder_once(monkeypatch):
    scorer = Scorer.load(
        parse("clip.vit-l-14+laion-aesthetic.v2+clip-iqa.vit-l-14.quality", resolve),
        Loader("cpu", tiny=True),
    )
    (encoder,) = {
        id(reward.extractor): reward.extractor for reward in scorer.rewards.values()
    }.values()
    encode, calls = encoder.encode_image, []
    monkeypatch.setattr(
        encoder, "encode_image", lambda pixels: calls.append(len(pixels)) or encode(pixels)
    )
    scores = scorer(twelve()[:3], "a prompt")
    assert calls == [3] and len(scores) == 3


def test_the_head_computes_in_float32_whatever_the_encoder_does():
    loader = Loader("cpu", "bfloat16", tiny=True)
    reward = entry("laion-aesthetic.v2").cls.load(entry("laion-aesthetic.v2").card, loader)
    assert {p.dtype for p in reward.head.parameters()} == {torch.float32}
    assert LoadedReward(reward)(twelve()[:2]).dtype == torch.float32


# Computed by the repository's own head on its own embeddings rating0 .. rating9, to 4 decimals.
EXACT = {
    "laion-aesthetic.v1-b-32": (
        "vit_b_32",
        [-1.4700, 0.2728, 1.9900, 3.6114, 5.0874, 6.3926, 7.6682, 8.9155, 9.9166, 11.0056],
    ),
    "laion-aesthetic.v1-l-14": (
        "vit_l_14",
        [-2.4579, -0.1379, 1.8951, 3.5849, 5.0997, 6.4701, 7.7870, 9.0480, 10.2264, 11.3044],
    ),
    "laion-aesthetic.v2": (
        "vit_l_14",
        [1.6555, 2.3593, 3.0698, 3.6725, 4.2380, 4.7010, 5.0731, 5.3654, 5.5767, 5.7468],
    ),
}


@pytest.mark.data
@pytest.mark.parametrize("name", EXACT)
def test_the_published_heads_give_their_exact_numbers(name):
    folder = Path(os.environ["REWARDKIT_TEST_DATA"])
    embeddings, expected = EXACT[name]
    ratings = [
        np.load(folder / "laion_aesthetic_v1" / f"{embeddings}_rating{index}.npy")
        for index in range(10)
    ]
    (weights,) = entry(name).card.weights
    version = "v2" if name.endswith("v2") else "v1"
    file = folder / f"laion_aesthetic_{version}" / weights.files[0]
    loader = Loader("cpu", weights={weights.name: file})
    head = loader.module(lambda: HEADS[name], weights)
    assert loader.located[weights.name].sha256 == weights.sha256
    got = head(torch.from_numpy(np.concatenate(ratings))).squeeze(-1).tolist()
    assert got == pytest.approx(expected, rel=0, abs=5.1e-5)
