"""GenEval's rewards are its rules on what one detector found."""

import numpy as np
import pytest
import torch
from pictures import picture
from streamed import outcomes

from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec, RewardTerm
from rewardkit.errors import ScoringError
from rewardkit.geneval.detector import Detections

NAMES = ("geneval", "geneval-graded", "geneval-hf", "geneval-hf-graded")
PICTURE = picture(0, 40, 60)


@pytest.fixture(scope="module")
def tiny():
    loader = Loader("cpu", tiny=True)
    return {name: entry(name).cls.load(entry(name).card, loader) for name in NAMES}


def scorer(rewards, *names):
    spec = RewardSpec(tuple(RewardTerm(name) for name in names))
    return Scorer(spec, {name: rewards[name] for name in names})


def see(monkeypatch, reward, found):
    """Makes the detector of a reward find rows by class."""
    boxes = {name: np.array(rows, np.float32) for name, rows in found.items()}
    masks = {name: torch.ones(len(rows), 40, 60, dtype=torch.bool) for name, rows in found.items()}
    monkeypatch.setattr(
        reward.extractor,
        "features",
        lambda prepared: [Detections(PICTURE, boxes, masks)] * len(prepared),
    )


def line(tag, *include, **more):
    return {"tag": tag, "include": [{"count": 1} | clause for clause in include], **more}


DOG, CAT = {"class": "dog"}, {"class": "cat"}
LEFT = {"class": "dog", "position": ["left of", 0]}
SEEN = {
    "dog": [(0, 0, 10, 10, 0.95), (20, 0, 30, 10, 0.4)],
    "cat": [(40, 0, 50, 10, 0.31)],
    "bird": [(0, 20, 9, 30, 0.29)],
}


# (line, strict, graded), by hand.
@pytest.mark.parametrize(
    ("metadata", "strict", "graded"),
    [
        (line("single_object", DOG), 1.0, 1.0),
        (line("single_object", {"class": "bird"}), 0.0, 0.0),
        (line("two_object", DOG, CAT), 1.0, 1.0),
        (line("two_object", DOG, {"class": "bird"}), 0.0, 0.5),
        (line("position", CAT, LEFT), 1.0, 1.0),
        (line("position", DOG, CAT | {"position": ["left of", 0]}), 0.0, 0.75),
        (line("counting", DOG, exclude=[{"class": "dog", "count": 2}]), 1.0, 1.0),
        (line("counting", DOG | {"count": 2}, exclude=[{"class": "dog", "count": 3}]), 0.0, 0.5),
    ],
)
def test_scores_are_the_rules_on_what_was_found(tiny, monkeypatch, metadata, strict, graded):
    see(monkeypatch, tiny["geneval"], SEEN)
    got = scorer(tiny, "geneval", "geneval-graded")([PICTURE], meta=[metadata])
    assert {name: score.item() for name, score in got.items()} == pytest.approx(
        {"geneval": strict, "geneval-graded": graded}
    )


def test_colours_are_asked_of_the_crops_of_the_objects(tiny, monkeypatch):
    see(monkeypatch, tiny["geneval"], SEEN)
    calls = []

    def colours(name, crops):
        calls.append((name, [tuple(crop.shape) for crop in crops]))
        return ["brown"] * len(crops)

    monkeypatch.setattr(tiny["geneval"]._colours, "colours", colours)
    lines = [line("colors", CAT | {"color": colour}) for colour in ("brown", "red")]
    assert LoadedReward(tiny["geneval"])([PICTURE] * 2, meta=lines).tolist() == [1.0, 0.0]
    assert calls == [("cat", [(3, 10, 10)])] * 2


def test_rewards_of_one_detector_look_once_and_share_its_network_and_clip(tiny, monkeypatch):
    seers = {name: reward.extractor for name, reward in tiny.items()}
    assert seers["geneval"] is seers["geneval-graded"]
    assert seers["geneval-hf"] is seers["geneval-hf-graded"] is not seers["geneval"]
    assert len({id(reward._colours) for reward in tiny.values()}) == 1
    looks = []
    detect = seers["geneval"]._detect
    monkeypatch.setattr(seers["geneval"], "_detect", lambda p: looks.append(len(p)) or detect(p))
    scorer(tiny, "geneval", "geneval-graded")([PICTURE] * 3, meta=[line("single_object", DOG)] * 3)
    assert looks == [3]


def test_a_wrong_line_costs_its_sample_alone_and_says_what_is_wrong(tiny):
    lines = [
        line("single_object", DOG),
        line("single_object", {"class": "dgo"}),
        {"include": [DOG | {"count": 1}]},
        line("single_object", DOG, prompt="a photo of a dog"),
    ]
    judge = scorer(tiny, "geneval")
    got = outcomes(judge, [PICTURE] * 4, meta=lines)
    assert [outcome.scores["geneval"] is None for outcome in got] == [False, True, True, False]
    assert "Did you mean 'dog'" in str(got[1].errors["geneval"])
    assert "needs the keys tag of the prompt's line" in str(got[2].errors["geneval"])
    with pytest.raises(ScoringError, match="needs the keys tag, include"):
        LoadedReward(tiny["geneval"])([PICTURE])


def test_a_picture_too_thin_for_the_detector_is_an_error(tiny):
    thin = torch.zeros(3, 1, 4000, dtype=torch.uint8)
    with pytest.raises(ScoringError, match="too thin for the detector"):
        LoadedReward(tiny["geneval"])([thin], meta=[line("single_object", DOG)])
