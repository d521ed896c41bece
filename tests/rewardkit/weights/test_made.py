"""Weights that a command makes on this machine are found where it puts them."""

import hashlib

import pydantic
import pytest
from click.testing import CliRunner

from rewardkit.cli import main
from rewardkit.engine.card import RewardCard
from rewardkit.engine.reward import MeasuredReward
from rewardkit.errors import WeightsError
from rewardkit.weights.hub import locate, made_path
from rewardkit.weights.pins import PinnedFile
from rewardkit.weights.pull import pull

FIELDS = {
    "name": "seer.v1",
    "repo": "https://far.home/seer.pth",
    "files": ("seer.v1.safetensors",),
    "licence": "MIT",
}
OURS = PinnedFile(host="made", made_by="run: rewardkit make-seer FILE", **FIELDS)
CONTENT = b"eyes"

pytestmark = pytest.mark.usefixtures("home")


def make():
    path = made_path(OURS)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


def test_what_was_made_is_found_and_told_with_what_it_is_made_of():
    path = make()
    located = locate(OURS, {})
    assert located.path == path and located.revision is None
    assert located.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert located.source == "made of https://far.home/seer.pth"


def test_what_was_not_made_is_missing_and_how_to_make_it_is_told():
    with pytest.raises(WeightsError, match=r"seer\.v1 are made on this machine.*make-seer FILE"):
        locate(OURS, {})


def test_it_can_be_carried_to_another_machine(home, monkeypatch):
    make()
    pulled = pull(OURS, home / "carried")
    assert pulled.path == home / "carried" / "seer.v1.safetensors"
    made_path(OURS).unlink()
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(home / "carried"))
    assert locate(OURS, {}).path == pulled.path


def test_show_tells_how_it_is_made(registered):
    class Seer(MeasuredReward):
        def measure(self, medium):
            return 0.0

    fields = {"summary": "More.", "inputs": ("image",), "unit": "u", "range": (None, None)}
    registered(RewardCard(name="seer", weights=(OURS,), **fields), Seer)
    shown = " ".join(CliRunner().invoke(main, ["show", "seer"]).stdout.split())
    assert "made of https://far.home/seer.pth" in shown
    assert "made on this machine: run: rewardkit make-seer FILE" in shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "made"},
        {"host": "hub", "made_by": "magic"},
        {"host": "made", "made_by": "magic", "sha256": "0" * 64},
    ],
)
def test_what_is_made_says_how_and_is_not_pinned(wrong):
    with pytest.raises(pydantic.ValidationError, match="made"):
        PinnedFile(**FIELDS, **wrong)
