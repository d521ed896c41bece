"""Verification computes published scores from exactly the published pictures."""

import hashlib

import huggingface_hub.constants
import pytest
from PIL import Image

from rewardkit.engine.card import PublishedScore, RewardCard
from rewardkit.engine.reward import MeasuredReward
from rewardkit.engine.verify import verify
from rewardkit.errors import UsageError, WeightsError


class Level(MeasuredReward):
    """The mean level: 100 for a picture that is flat grey 100."""

    def measure(self, medium):
        return float(medium.float().mean())


class Unavailable(Level):
    @classmethod
    def load(cls, card, loader):
        raise WeightsError(f"weights of {card.name} are not on this machine")


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "flat.png"
    Image.new("RGB", (4, 3), (100, 100, 100)).save(path)
    return path


def published(path, value, tolerance, url="http://127.0.0.1:9/flat.png"):
    return PublishedScore(
        picture=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        url=url,
        prompt=None,
        value=value,
        tolerance=tolerance,
        source="https://example.org",
    )


def card(name, *values):
    fields = {"inputs": ("image",), "unit": "u", "range": (None, None)}
    return RewardCard(name=name, summary="More.", published=values, **fields)


# Ours is 100: -0.5 and +0.5 from 100.5 and 99.5, -2 from 102.
def test_a_score_is_ok_within_its_tolerance_either_way(registered, picture, tmp_path):
    values = [published(picture, value, 0.5) for value in (100.5, 99.5, 102.0)]
    found = verify([registered(card("level", *values), Level)], device="cpu", test_data=tmp_path)
    assert [check.ours for check in found.checks] == [100.0] * 3
    assert [check.delta for check in found.checks] == [-0.5, 0.5, -2.0]
    assert [check.verdict for check in found.checks] == ["ok", "ok", "beyond tolerance"]
    assert found.failed == found.checks[2:]


def test_a_picture_is_known_by_its_content_whatever_its_name(registered, picture, tmp_path, home):
    score = published(picture, 100.0, 0.1)
    (tmp_path / "deep").mkdir()
    picture.rename(tmp_path / "deep" / "renamed.png")
    Image.new("RGB", (4, 3), (7, 7, 7)).save(picture)  # another picture under the right name
    found = verify([registered(card("level", score), Level)], device="cpu", test_data=tmp_path)
    assert found.checks[0].ours == 100.0


def test_a_picture_that_is_not_in_the_folder_is_downloaded(registered, picture, server, tmp_path):
    server("us/pictures", "1" * 40, flat__png=picture.read_bytes())
    url = f"{huggingface_hub.constants.ENDPOINT}/us/pictures/resolve/{'1' * 40}/flat.png"
    known = registered(card("level", published(picture, 100.0, 0.1, url)), Level)
    (tmp_path / "empty").mkdir()
    assert verify([known], device="cpu", test_data=tmp_path / "empty").checks[0].verdict == "ok"
    assert verify([known], device="cpu").checks[0].verdict == "ok"


def test_what_cannot_be_had_is_told_and_the_rest_goes_on(registered, picture, tmp_path, home):
    here = published(picture, 100.0, 0.1)
    gone = here.model_copy(update={"sha256": "0" * 64})
    cards = [
        registered(card("heavy", here), Unavailable),
        registered(card("level", gone, here), Level),
    ]
    found = verify(cards, device="cpu", test_data=tmp_path)
    assert [(check.reward, check.verdict) for check in found.checks] == [
        ("heavy", "not computed"),
        ("level", "not computed"),
        ("level", "ok"),
    ]
    assert found.checks[0].error == "weights of heavy are not on this machine"
    assert "flat.png cannot be downloaded" in found.checks[1].error
    assert [check.delta for check in found.checks] == [None, None, 0.0]


def test_a_folder_that_is_none_is_wrong_usage(picture):
    with pytest.raises(UsageError, match="which is not a folder"):
        verify([], device="cpu", test_data=picture)
