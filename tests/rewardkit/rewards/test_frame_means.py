"""Picture rewards on clips are means over sampled frames, by the pictures' networks."""

import pytest
import torch
from golden.media import clip
from made_rewards import scorer
from streamed import outcomes

from rewardkit import Clip, Loader
from rewardkit.engine import frames as engine
from rewardkit.engine.registry import entry, resolve
from rewardkit.rewards.frame_means import FPS, PICTURES

SHORT = sorted(PICTURES)
# Of 8, 24 and 1 frames per second, and a single frame: at 2 a second these stay.
KEPT = {(9, 8.0): [0, 4, 8], (30, 24.0): [0, 12, 24], (3, 1.0): [0, 1, 2], (1, 24.0): [0]}
CLIPS = [
    clip(seed, (40, 56), frames=number, fps=fps, velocity=(3.0 * seed, 1.0))
    for seed, (number, fps) in enumerate(KEPT)
]
PROMPTS = ["a red ring", "a blue ring", "two rings", "a cross"]


@pytest.fixture(scope="module")
def tiny():
    loader = Loader("cpu", tiny=True)
    names = [*PICTURES.values(), *map(resolve, SHORT)]
    return {name: entry(name).cls.load(entry(name).card, loader) for name in names}


def test_a_short_name_stands_for_the_frames_of_what_the_family_stands_for():
    for short, picture in PICTURES.items():
        family = short.removesuffix(".frames")
        assert (resolve(family), resolve(short)) == (picture, f"{picture}-frames")


# Those of ocr.frames are in test_ocr.py: its prompts quote a text, which these clips do not show.
@pytest.mark.parametrize("short", [short for short in SHORT if short != "ocr.frames"])
def test_a_clip_scores_the_mean_of_its_sampled_frames_as_pictures(short, tiny):
    picture, means = tiny[PICTURES[short]], tiny[resolve(short)]
    got = scorer(means)(CLIPS, PROMPTS)[means.card.name]
    for medium, prompt, kept, score in zip(CLIPS, PROMPTS, KEPT.values(), got, strict=True):
        frames = scorer(picture)(list(medium.frames[kept]), prompt)[picture.card.name]
        torch.testing.assert_close(score, frames.mean(), rtol=1e-6, atol=1e-6)
    assert got.std() > 1e-4, "clips differ"


@pytest.mark.parametrize("short", SHORT)
def test_its_card_says_that_it_takes_clips_and_how_they_are_sampled(short):
    card = entry(short).card
    assert (card.inputs, card.fps) == (("video",), FPS)
    assert card.notes[0].startswith(f"The mean of {PICTURES[short]} over the frames nearest to 0")
    assert not card.published, "no clip's score is"


def test_frames_go_through_the_network_of_the_picture_reward_once_for_all(tiny, monkeypatch):
    names = [resolve(short) for short in ("clip.frames", "laion-aesthetic.frames")]
    shared, aesthetic = (tiny[name].extractor for name in names)
    encoder = tiny["clip.vit-l-14"].extractor
    assert shared is aesthetic and shared.pictures is encoder
    sizes, encode = [], encoder.encode_image
    monkeypatch.setattr(
        encoder, "encode_image", lambda pixels: sizes.append(len(pixels)) or encode(pixels)
    )
    scorer(*(tiny[name] for name in names))(CLIPS, PROMPTS)
    assert sizes == [sum(map(len, KEPT.values()))]


def test_a_long_clip_goes_through_the_network_in_pieces(tiny, monkeypatch):
    name = resolve("hps.frames")
    encoder, whole = tiny[name].extractor.pictures, scorer(tiny[name])(CLIPS, PROMPTS)
    sizes, encode = [], encoder.encode_image
    monkeypatch.setattr(engine, "FRAMES_AT_ONCE", 4)
    monkeypatch.setattr(
        encoder, "encode_image", lambda pixels: sizes.append(len(pixels)) or encode(pixels)
    )
    pieces = scorer(tiny[name])(CLIPS, PROMPTS)
    assert sizes == [4, 4, 2]
    torch.testing.assert_close(pieces[name], whole[name], rtol=0, atol=1e-6)


def test_a_picture_and_a_clip_without_a_prompt_are_refused(tiny):
    media = [CLIPS[0], CLIPS[0].frames[0], Clip(CLIPS[0].frames, 8.0)]
    got = outcomes(scorer(tiny["hps.v2.1-frames"]), media, ["a ring", "a ring", None])
    assert [bool(outcome.errors) for outcome in got] == [False, True, True]
    assert "takes videos; an image was given" in str(got[1].errors["hps.v2.1-frames"])
    assert "needs a prompt" in str(got[2].errors["hps.v2.1-frames"])
