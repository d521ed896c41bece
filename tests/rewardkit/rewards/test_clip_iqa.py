"""`clip-iqa.*` gives the numbers of torchmetrics on the same random weights."""

import math

import pytest
import torch
from golden.clip import media
from golden.prompted import load
from parity import ATOL, MOVED, check_pixels, with_encoder, with_step
from pictures import picture, twelve

import rewardkit
from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import Resize
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import parse
from rewardkit.errors import UsageError
from rewardkit.rewards import clip_iqa
from rewardkit.rewards.clip_iqa import PAIRS, pair
from rewardkit.weights.nets.clip_layout import from_transformers

CARD = entry("clip-iqa").card
GOLDEN = load("clip-iqa.vit-l-14")


def reward(seeded, card=CARD):
    return seeded(card, convert=from_transformers, activation="quick_gelu")


def worst(reward):
    """The largest difference from torchmetrics over all pairs."""
    differences = []
    for case in GOLDEN.cases:
        reward.card = reward.card.model_copy(update={"texts": tuple(case.prompt.split("\n"))})
        differences.append(abs(float(LoadedReward(reward)([media()[case.picture]])) - case.score))
    return max(differences)


def test_pixels_tokens_and_scores_are_upstreams(seeded):
    ours = reward(seeded)
    check_pixels(ours, GOLDEN)
    for case in GOLDEN.cases:
        ids = ours.extractor._tokenize(case.prompt.split("\n"))
        assert ids[ids > 0].tolist() == case.ids
    assert {case.picture for case in GOLDEN.cases} == set(range(12))
    assert GOLDEN.spread >= 100 * ATOL
    assert worst(ours) <= ATOL


def test_the_pairs_are_upstreams_each_under_one_name():
    upstream = [tuple(case.prompt.split("\n")) for case in GOLDEN.cases[:-1]]
    assert list(PAIRS.values()) == upstream
    for name, texts in PAIRS.items():
        assert entry(f"clip-iqa.vit-l-14.{name}").card.texts == texts


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
    assert worst(reward(seeded, change(CARD))) > MOVED


def test_another_scale_gives_other_scores(seeded, monkeypatch):
    monkeypatch.setattr(clip_iqa, "_SCALE", 99.0)
    assert worst(reward(seeded)) > MOVED


# The softmax over two is 1 / (1 + exp(-100 (cos_1 - cos_2))); with (0.25, 0.24): 1 / (1 + 1/e).
def test_the_score_is_the_probability_of_the_first_text():
    class Features:
        image = torch.tensor([[1.0, 0.0]])

        def text(self, texts):
            return torch.tensor([[0.25, 0.0], [0.24, 0.0]])

    score = clip_iqa.ClipIqa(CARD, None).score(None, Features())
    assert score.tolist() == pytest.approx([1 / (1 + math.exp(-1))], abs=1e-6)


def tiny(spec):
    return Scorer.load(parse(spec, resolve), Loader("cpu", tiny=True))


@pytest.fixture
def pairs(tmp_path):
    file = tmp_path / "pairs.py"
    file.write_text(
        "from rewardkit.rewards.clip_iqa import pair\n"
        'good = pair("Good photo.", "Bad photo.")\n'
        'watercolour = pair("Watercolour painting.", "Photo.")\n'
        "def zero(batch):\n    return [0.0] * len(batch)\n"
    )
    return file


def test_a_pair_of_ones_own_is_a_reward_of_a_python_file(pairs):
    spec = f"clip-iqa.vit-l-14.quality+{pairs}:good+{pairs}:watercolour+{pairs}:zero"
    scorer = tiny(spec)
    built_in, good, watercolour, zero = scorer(twelve()[:4]).values()
    assert torch.equal(built_in, good)
    assert (built_in - watercolour).abs().max() > MOVED and not zero.any()
    assert scorer.rewards[f"{pairs}:watercolour"].card.texts == ("Watercolour painting.", "Photo.")


def test_a_pair_shares_the_encoder(pairs):
    scorer = tiny(f"clip.vit-l-14+{pairs}:watercolour")
    assert len({id(reward.extractor) for reward in scorer.rewards.values()}) == 1


def test_opposite_pairs_add_to_one():
    loader = Loader("cpu", tiny=True)
    forth, back = pair("Day.", "Night."), pair("Night.", "Day.")
    pictures = [picture(3, 60, 90)]
    scores = [float(LoadedReward(e.cls.load(e.card, loader))(pictures)) for e in (forth, back)]
    assert sum(scores) == pytest.approx(1.0, abs=1e-6)


def test_a_name_the_file_lacks_is_told_what_it_has(pairs):
    with pytest.raises(UsageError, match=r"'waterclour'.*'watercolour'"):
        rewardkit.create(f"{pairs}:waterclour")
