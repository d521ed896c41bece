"""VBench's dimensions of frames give the numbers of VBench's own functions on the same weights."""

import dataclasses
import functools

import pytest
import torch
from golden.cases import load
from golden.media import render
from golden.prompted import fill
from safetensors.torch import save_file
from streamed import outcomes

from rewardkit import Clip, Loader
from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.preprocess import Resize
from rewardkit.engine.registry import entry, resolve
from rewardkit.rewards.laion_aesthetic import head_v1
from rewardkit.rewards.vbench import consistency
from rewardkit.weights.nets import dino

NAMES = ["aesthetic-quality", "background-consistency", "subject-consistency"]


@pytest.fixture
def made(seeded, home, monkeypatch):
    """`made(name, **changes)`: the reward on the golden weights, its resize changed."""

    def make(name, **changes):
        card = entry(name).card
        steps = tuple(
            dataclasses.replace(step, **changes) if isinstance(step, Resize) else step
            for step in (card.encoder or card).preprocess
        )
        if card.encoder:
            encoder = card.encoder.model_copy(update={"preprocess": steps})
            heads = [head_v1(768)] if card.weights else []
            return seeded(card.model_copy(update={"encoder": encoder}), heads)
        monkeypatch.setattr(dino, "BASE", dino.TINY)
        save_file(network().state_dict(), home / "dino.safetensors")
        loader = Loader("cpu", weights={card.weights[0].name: home / "dino.safetensors"})
        return entry(name).cls.load(card.model_copy(update={"preprocess": steps}), loader)

    return make


@functools.cache
def network():
    built = dino.DinoTransformer(**dino.TINY).eval()
    built.load_state_dict(fill(built.state_dict()))
    return built


@functools.cache
def rendered(name):
    """The media of a golden file."""
    return [render(case.medium) for case in load(name).cases]


def worst(reward, name):
    golden = load(name)
    scores = LoadedReward(reward)(rendered(name)).tolist()
    return max(abs(s - case.score) for s, case in zip(scores, golden.cases, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_upstreams(name, made):
    golden = load(name)
    assert golden.spread >= 100 * golden.cases[0].atol
    assert worst(made(name), name) <= golden.cases[0].atol


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change", [{"antialias": True}, {"side": "squash"}, {"interpolation": None}], ids=str
)
def test_another_resize_gives_other_scores(name, change, made):
    if "interpolation" in change:
        other = "bicubic" if name == "subject-consistency" else "bilinear"
        change = {"interpolation": other}
    assert worst(made(name, **change), name) > 5e-6


@torch.inference_mode()
def furthest():
    """The largest difference between a token of DINO's and upstream's."""
    return max(
        abs(network()(picture[None] / 255)[0, 0].item() - case.score)
        for picture, case in zip(rendered("dino-token"), load("dino-token").cases, strict=True)
    )


def test_tokens_of_pictures_of_any_shape_are_upstreams(monkeypatch):
    assert furthest() <= 1e-5
    own, interpolate = dino.DinoTransformer._positions, dino.F.interpolate
    with monkeypatch.context() as patch:  # as many patches as positions, and not square
        patch.setattr(
            dino.DinoTransformer, "_positions", lambda self, r, c, square: own(self, r, c, True)
        )
        assert furthest() > 1e-4
    with monkeypatch.context() as patch:  # without the tenth of a patch
        patch.setattr(
            dino.F,
            "interpolate",
            lambda grid, scale_factor, mode: interpolate(
                grid, [int(s * 14) for s in scale_factor], mode=mode
            ),
        )
        assert furthest() > 1e-4


def test_temporal_flickering_is_known_by_what_more_of_it_means():
    assert resolve("temporal-flickering") == "temporal-stability"
    assert load("temporal-stability").upstream.endswith("vbench/temporal_flickering.py")


# Unit vectors at angles 0, 60 and 180 degrees. Frame 1: 1/2 with both. Frame 2: cos 120 with the
# one before it and cos 180 with the first, both taken as 0.
def test_consistency_is_the_mean_over_later_frames_of_two_cosines_of_at_least_0():
    angles = torch.tensor([0.0, 60.0, 180.0]).deg2rad()
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert consistency(embeddings * torch.tensor([[1.0], [2.0], [3.0]])) == pytest.approx(0.25)


def test_one_frame_is_not_compared_and_costs_only_its_clip():
    loader = Loader("cpu", tiny=True)
    known = entry("subject-consistency")
    reward = known.cls.load(known.card, loader)
    clip = Clip(torch.randint(256, (3, 3, 40, 60), dtype=torch.uint8), 8.0)
    scorer = LoadedReward(reward)._scorer
    good, bad = outcomes(scorer, [clip, Clip(clip.frames[:1], 8.0)])
    assert good.scores["subject-consistency"] < 1
    assert "at least 2; this clip has 1" in str(bad.errors["subject-consistency"])
