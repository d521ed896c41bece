"""A scorer shares encoders, keeps samples apart, and never turns a failure into a number."""

from functools import partial

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from made_rewards import card, check_reward, function, scorer
from pictures import picture, twelve, written
from streamed import outcomes

from rewardkit.engine.encoders import ClipEncoder
from rewardkit.engine.extractor import RawMedia
from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, list_rewards
from rewardkit.engine.reward import GroupReward, MeasuredReward
from rewardkit.errors import InputError, RewardKitError, ScoringError, UsageError
from rewardkit.geneval.names import CLASSES
from rewardkit.media.batch import Clip, Sample
from rewardkit.shapes import motion
from rewardkit.shapes.world import Thing, render


def clip(seed, frames=12, height=48, width=64):
    """A window jumping about in a picture: the farther, the higher the seed."""
    still = picture(seed, height, width + 40)
    jumps = torch.randint(
        0, 4 + 12 * seed, (frames,), generator=torch.Generator().manual_seed(seed)
    )
    return Clip(torch.stack([still[:, :, x : x + width] for x in jumps.tolist()]), 8.0)


MEDIA = {"image": twelve()[:6], "video": [clip(seed) for seed in range(4)]}
# What the judges of the embedded world read: three of its pictures, each twice, and its prompts.
SCENES = [[Thing("ring", colour, 0, 0)] for colour in ("red", "green", "blue")] * 2
SHAPES = list(torch.from_numpy(render(SCENES)))
SHAPES_PROMPTS = ["a red ring", "a blue ring", "two rings", "a cross", "a ring", "a blue ring"]
RINGS = [motion.parse(f"a {colour} ring moving up") for colour in ("red", "green")] * 2
MOVING = [Clip(torch.from_numpy(motion.clip(ring, [(3, 0)], ["red"])), 8.0) for ring in RINGS]
SIGNS = [written(text, size=(48, 128)) for text in ("STOP", "OPEN", "SALE")]
SIGN_PROMPTS = [f'a sign that says "{text}"' for text in ("STOP", "OVEN", "SOLO")]
# What a judge of the embedded world or of text is shown, in place of other media.
SHOWN = {
    "shapes-correct": (SHAPES + MOVING, [*SHAPES_PROMPTS, *(ring.prompt for ring in RINGS)]),
    "shapes-graded": (SHAPES, SHAPES_PROMPTS),
    "shapes-motion": (MOVING, [ring.prompt for ring in RINGS]),
    **{
        f"ocr.{tag}": (SIGNS, SIGN_PROMPTS) for tag in ("similarity", "word-accuracy", "completion")
    },
    "ocr.similarity-frames": ([Clip(sign[None], 8.0) for sign in SIGNS], SIGN_PROMPTS),
}
ALL = [card.name for card in list_rewards()]


@pytest.fixture(scope="module")
def tiny():
    loader = Loader("cpu", tiny=True)
    return {name: entry(name).cls.load(entry(name).card, loader) for name in ALL}


# Questions for GenEval, with whether the detector finds each object. The detector is small and
# random: it finds what no picture shows, and other things with another version of transformers.
QUESTIONS = [
    ("single_object", [(True, {})]),
    ("counting", [(True, {})]),
    ("two_object", [(True, {}), (False, {})]),
    ("single_object", [(False, {})]),
    ("colors", [(True, {"color": "brown"})]),
    ("position", [(True, {}), (True, {"position": ["above", 0]})]),
]


def lines(detector):
    """Metadata of the pictures: one question for each."""
    prepared = [detector.prepare(Sample(picture)) for picture in MEDIA["image"]]
    for (tag, objects), detections in zip(QUESTIONS, detector.features(prepared), strict=True):
        boxes = detections.boxes
        found = max(boxes, key=lambda name, boxes=boxes: boxes[name][:, 4].max())
        missing = next(name for name in CLASSES if name not in boxes)
        include = [
            {"class": found if is_found else missing, "count": 1, **more}
            for is_found, more in objects
        ]
        yield {"tag": tag, "include": include}


# Each kind of media that a reward takes, and all of them in one batch.
TAKEN = [
    (card.name, kinds)
    for card in list_rewards()
    for kinds in dict.fromkeys([*((kind,) for kind in card.inputs), card.inputs])
]


@pytest.mark.parametrize(("name", "kinds"), TAKEN, ids=lambda x: x if x in ALL else "+".join(x))
def test_a_score_depends_on_its_own_sample_alone(name, kinds, tiny):
    reward = tiny[name]
    if name in SHOWN:
        check_reward(reward, *SHOWN[name])
        return
    media = [medium for kind in kinds for medium in MEDIA[kind][: 6 // len(kinds)]]
    media = media[::2] + media[1::2]  # kinds side by side
    if name == "judge.points":
        meta = [{"points": [f"point {number}" for number in range(9)]}] * len(media)
    else:
        meta = list(lines(reward.extractor)) if reward.card.needs_meta else None
    prompts = [f"sample number {i}" for i in range(len(media))]
    # A tenth of what a small head says: scores lie close together.
    check_reward(reward, media, prompts, meta, 1e-6 if name == "aesthetic-quality" else 1e-5)


@pytest.mark.parametrize("name", ALL)
def test_a_card_is_complete(name):
    known = entry(name).card
    assert known.summary.endswith(".")
    assert known.notes, "what surprises nobody was not looked for"
    if known.encoder or known.weights:
        assert known.paper and known.upstream and known.trained_on
    for weights in known.all_weights:
        if weights.host != "package":  # whose files have a checksum and no revision
            assert (weights.revision is None) == (weights.sha256 is None)


def test_rewards_of_one_encoder_run_it_once(tiny, monkeypatch):
    reward = tiny["clip.vit-b-32"]
    calls = []
    encode = reward.extractor.encode_image
    monkeypatch.setattr(
        reward.extractor, "encode_image", lambda pixels: calls.append(len(pixels)) or encode(pixels)
    )
    twin = type(reward)(card("twin", needs_prompt=True), reward.extractor)
    out = scorer(reward, twin)(MEDIA["image"], "a prompt")
    assert torch.equal(out["clip.vit-b-32"], out["twin"])
    assert calls == [len(MEDIA["image"])]


def test_a_prompt_repeated_in_a_batch_or_with_its_batch_is_encoded_once(tiny, monkeypatch):
    encoder = tiny["clip.vit-b-32"].extractor
    seen = []
    tokenize = encoder._tokenize
    monkeypatch.setattr(encoder, "_tokenize", lambda texts: seen.extend(texts) or tokenize(texts))
    monkeypatch.setattr(encoder, "_texts", {})
    LoadedReward(tiny["clip.vit-b-32"])(MEDIA["image"], ["a", "b", "a", "b", "a", "c"])
    LoadedReward(tiny["clip.vit-b-32"])(MEDIA["image"][:3], ["c", "b", "a"])
    LoadedReward(tiny["clip.vit-b-32"])(MEDIA["image"][:3], ["a", "b", "c"])
    assert seen == ["a", "b", "c", "c", "b", "a"]


def test_an_embedding_does_not_depend_on_the_texts_before(tiny, monkeypatch):
    """So a resumed run, and one process of several, computes the same scores to the last bit."""
    encoder = tiny["clip.vit-b-32"].extractor
    texts = [f"a photo of {number} rings" for number in range(7)]
    monkeypatch.setattr(encoder, "_texts", {})
    fresh = encoder.encode_text(texts)
    monkeypatch.setattr(encoder, "_texts", {})
    for text in texts[:3]:
        encoder.encode_text([text])
    assert torch.equal(encoder.encode_text(texts), fresh)


def test_loaders_share_equal_encoders_only():
    loader = Loader("cpu", tiny=True)
    specs = {name: entry(name).card.encoder for name in ("clip.vit-b-32", "clip.vit-l-14")}
    again = specs["clip.vit-b-32"].model_copy()
    of = partial(ClipEncoder.shared, loader=loader)
    assert of(specs["clip.vit-b-32"]) is of(again)
    assert of(specs["clip.vit-b-32"]) is not of(specs["clip.vit-l-14"])


def test_the_first_sample_that_fails_is_named():
    picky = function(
        "picky", lambda batch: [1.0 if m.shape[1] != 480 else 1 / 0 for m in batch.media]
    )
    with pytest.raises(
        ScoringError, match="sample 2 cannot be scored: ZeroDivisionError"
    ) as caught:
        scorer(picky)(MEDIA["image"])
    assert caught.value.index == 2 and isinstance(caught.value.cause, ZeroDivisionError)


def test_a_sample_that_fails_costs_only_itself():
    picky = function(
        "picky", lambda batch: [1.0 if m.shape[1] != 480 else 1 / 0 for m in batch.media]
    )
    fine = function("fine", lambda batch: [2.0] * len(batch))
    got = outcomes(scorer(picky, fine), MEDIA["image"])
    assert [o.scores["picky"] for o in got] == [1.0, 1.0, None, 1.0, 1.0, 1.0]
    assert [o.scores["fine"] for o in got] == [2.0] * 6
    assert [set(o.errors) for o in got] == [set(), set(), {"picky"}, set(), set(), set()]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_a_failure(bad):
    got = outcomes(
        scorer(function("odd", lambda b: [bad if m.shape[1] == 480 else 3.0 for m in b.media])),
        MEDIA["image"],
    )
    assert [o.scores["odd"] for o in got] == [3.0, 3.0, None, 3.0, 3.0, 3.0]
    assert f"odd returned {bad}" in str(got[2].errors["odd"])


@pytest.mark.parametrize("returned", [0.5, [0.5], [[0.5] * 6], []])
def test_a_reward_returns_one_score_per_sample(returned):
    def mean(batch):  # right for one sample: taken one by one, nobody would notice
        return returned if len(batch) > 1 else [0.5]

    with pytest.raises(ScoringError, match=r"must return one score per sample, a tensor \[6\]"):
        scorer(function("mean", mean))(MEDIA["image"])


def test_a_missing_prompt_fails_only_the_rewards_that_need_one(tiny):
    got = outcomes(
        scorer(tiny["clip.vit-b-32"], tiny["sharpness"]), MEDIA["image"][:3], ["a cat", None, "  "]
    )
    assert [o.scores["clip.vit-b-32"] is None for o in got] == [False, True, True]
    assert all(o.scores["sharpness"] is not None for o in got)
    assert "needs a prompt" in str(got[1].errors["clip.vit-b-32"])


def test_a_missing_key_of_the_prompts_line_is_named():
    judge = scorer(function("judge", lambda batch: [1.0] * len(batch), needs_meta=("objects",)))
    with pytest.raises(ScoringError, match="judge needs the keys objects"):
        judge(MEDIA["image"][:1])
    assert judge(MEDIA["image"][:1], meta=[{"objects": 1}])["judge"].tolist() == [1.0]


def test_a_medium_one_reward_cannot_take_is_still_scored_by_the_others(tiny):
    thin = torch.zeros(3, 1, 90_000, dtype=torch.uint8)  # 224 x 20,160,000 for CLIP
    (got,) = outcomes(scorer(tiny["clip.vit-b-32"], tiny["contrast"]), [thin], "a line")
    assert got.scores["contrast"] == 0.0
    assert "crop it first" in str(got.errors["clip.vit-b-32"])


def test_a_clip_is_no_picture(tiny):
    with pytest.raises(ScoringError, match="sharpness takes images; a video was given"):
        LoadedReward(tiny["sharpness"])(MEDIA["video"][:1])
    with pytest.raises(ScoringError, match="temporal-stability takes videos; an image was given"):
        LoadedReward(tiny["temporal-stability"])(MEDIA["image"][:1])


class WinRate(GroupReward):
    """The share of the group's other samples that are darker."""

    def __init__(self, card):
        self.card, self.extractor = card, RawMedia()

    @classmethod
    def load(cls, card, loader):
        return cls(card)

    def score(self, batch, features):
        light = torch.tensor([float(s.picture.float().mean()) for s in features])
        return (light[:, None] > light[None]).float().sum(1) / max(1, len(light) - 1)


def flat(*levels):
    return [torch.full((3, 4, 4), level, dtype=torch.uint8) for level in levels]


# Groups (10, 30) and (20, 5, 1): wins 0/1, 1/1 and 2/2, 1/2, 0/2.
def test_a_group_reward_sees_one_whole_group_at_a_time():
    win_rate = scorer(WinRate(card("win-rate")))
    got = win_rate(flat(10, 20, 30, 5, 1), groups=[0, 1, 0, 1, 1])
    assert got["win-rate"].tolist() == [0.0, 1.0, 1.0, 0.5, 0.0]


def test_a_group_reward_without_groups_is_refused_by_name():
    with pytest.raises(UsageError, match="win-rate compares the samples of a group"):
        scorer(WinRate(card("win-rate")))(flat(1, 2))


@given(st.lists(st.integers(0, 2), min_size=2, max_size=8).filter(lambda g: len(set(g)) > 1))
def test_a_group_reward_ignores_other_groups(groups):
    win_rate = scorer(WinRate(card("win-rate")))
    media = flat(*range(0, 20 * len(groups), 20))
    together = win_rate(media, groups=groups)["win-rate"]
    mine = [i for i, group in enumerate(groups) if group == groups[0]]
    alone = win_rate([media[i] for i in mine], groups=[0] * len(mine))["win-rate"]
    assert torch.equal(together[mine], alone)


def test_a_float_picture_scores_as_its_png_would():
    level = LoadedReward(MeasuredLevel(card("level")))
    # 0.5 * 255 = 127.5 rounds half to even: 128; 1.0000001 is white.
    assert level([torch.full((3, 2, 2), 0.5)]).tolist() == [128.0]
    assert level([torch.full((3, 2, 2), 1.0000001, dtype=torch.float64)]).tolist() == [255.0]


class MeasuredLevel(MeasuredReward):
    def measure(self, medium):
        return float(medium.float().mean())


@pytest.mark.parametrize(
    ("medium", "what"),
    [
        (torch.full((3, 2, 2), -0.3), r"values in 0\.\.1; this one spans -0\.3"),
        (torch.full((3, 2, 2), float("nan")), "spans nan"),
        (torch.zeros(2, 2, 3, dtype=torch.uint8), r"\[3, H, W\].*given: uint8 \[2, 2, 3\]"),
        (torch.zeros(3, 2, 2, dtype=torch.int64), "given: int64"),
        (torch.zeros(3, 0, 2, dtype=torch.uint8), "H, W > 0"),
        ({"path": "a.png"}, "a dict is not a picture"),
    ],
)
def test_what_is_no_picture_is_told_what_is(medium, what):
    with pytest.raises(ScoringError, match=what) as caught:
        LoadedReward(MeasuredLevel(card("level")))([*flat(1), medium])
    assert caught.value.index == 1 and isinstance(caught.value.cause, InputError)


def test_a_batch_holds_one_of_each_per_sample():
    with pytest.raises(UsageError, match="1 media, 2 prompts, 1 meta, 1 references were given"):
        LoadedReward(MeasuredLevel(card("level")))(flat(1), ["a", "b"])


def test_an_error_of_ours_is_a_rewardkit_error():
    assert issubclass(ScoringError, RewardKitError) and issubclass(UsageError, RewardKitError)
