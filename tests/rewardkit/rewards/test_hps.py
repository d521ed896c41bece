"""`hps.*` gives the numbers of the package `hpsv2` on the same random weights."""

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
from pictures import picture

from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.preprocess import Pad, Resize, ToFloat, apply
from rewardkit.engine.registry import entry, resolve
from rewardkit.errors import WeightsError
from rewardkit.weights.checkpoint import read_state_dict

NAMES = ["hps.v2.0", "hps.v2.1", "hps.v2.1-2023"]


def card(name):
    return entry(name).card


@pytest.mark.parametrize("name", NAMES)
def test_pixels_tokens_and_scores_are_upstreams(name, seeded):
    reward, golden = seeded(card(name)), load(name)
    check_pixels(reward, golden)
    check_tokens(reward, golden)
    check_scores(reward, golden)


def test_a_published_checkpoint_fits():
    with torch.device("meta"):
        ours = open_clip.CLIP(**open_clip.get_model_config(card("hps.v2.1").encoder.architecture))
    for name in NAMES:
        assert layout(ours.state_dict()) == load(name).layout


def first_resized(steps):
    """The resize on 8-bit levels, before they become floats."""
    resize, to_float = steps[1], steps[0]
    return (resize, to_float, *steps[2:])


def padded_last(steps):
    """Zeros after normalisation: grey instead of black."""
    return (*steps[:2], steps[3], steps[2])


@pytest.mark.parametrize(
    "change",
    [
        lambda c: with_step(c, Resize, antialias=False),
        lambda c: with_step(c, Resize, interpolation="bilinear"),
        lambda c: with_step(c, Resize, side="squash"),
        lambda c: with_encoder(c, preprocess=first_resized(c.encoder.preprocess)),
        lambda c: with_encoder(c, preprocess=padded_last(c.encoder.preprocess)),
        lambda c: with_encoder(c, architecture="ViT-H-14-quickgelu"),
    ],
    ids=["antialias", "bicubic", "longest side", "floats first", "black", "activation"],
)
def test_any_other_preprocessing_gives_other_scores(change, seeded):
    assert worst(seeded(change(card("hps.v2.1"))), load("hps.v2.1")) > MOVED


def test_the_variant_of_2023_is_the_same_file_without_antialias(seeded):
    now, then = card("hps.v2.1"), card("hps.v2.1-2023")
    assert now.encoder.weights == then.encoder.weights
    assert worst(seeded(now), load("hps.v2.1-2023")) > MOVED


# 224 - 100 = 124, 62 on each side; 224 - 101 = 123, 61 before and 62 after. Black is 0.
@pytest.mark.parametrize(("side", "before"), [(100, 62), (101, 61)])
def test_a_picture_is_padded_even_where_its_long_side_is_224_already(side, before):
    padded = apply((ToFloat(), Pad(224)), picture(0, side, 224))
    assert padded.shape == (3, 224, 224)
    inside = padded[:, before : before + side]
    assert torch.equal(inside, apply((ToFloat(),), picture(0, side, 224)))
    assert not padded[:, :before].any() and not padded[:, before + side :].any()


def test_the_family_means_v2_1():
    assert resolve("hps") == "hps.v2.1"


def test_a_half_precision_checkpoint_loads_into_float32(seeded, home):
    reward = seeded(card("hps.v2.1"))
    file = home / "hps.v2.1.safetensors"
    state = {key: value.half() for key, value in read_state_dict(file).items()}
    checkpoint = home / "half.pt"
    torch.save({"state_dict": state}, checkpoint)
    again = load_from(checkpoint)
    assert again.reward.extractor._model.visual.proj.dtype == torch.float32
    batch = [picture(0, 64, 48)], ["a cat"]
    # 11 bits of each weight: about 1e-3 of a cosine that is at most a few tenths.
    torch.testing.assert_close(again(*batch), LoadedReward(reward)(*batch), rtol=0, atol=2e-3)


def test_a_checkpoint_of_another_network_is_refused_with_what_is_missing(seeded, home):
    seeded(card("hps.v2.1"))
    state = read_state_dict(home / "hps.v2.1.safetensors")
    del state["ln_final.weight"]
    torch.save({"state_dict": state}, home / "other.pt")
    with pytest.raises(WeightsError, match=r"1 missing \(ln_final\.weight\)"):
        load_from(home / "other.pt")


def load_from(checkpoint):
    import rewardkit

    return rewardkit.create("hps.v2.1", device="cpu", weights={"hps.v2.1": checkpoint})
