"""`rewardkit pull` names every file, and what cannot be had does not stop the rest."""

import hashlib
import json

import pytest
from click.testing import CliRunner

from rewardkit.cli import main
from rewardkit.engine.card import RewardCard
from rewardkit.engine.reward import MeasuredReward
from rewardkit.weights.pins import PinnedFile


class Level(MeasuredReward):
    def measure(self, medium):
        return float(medium.float().mean())


def weights(name):
    return PinnedFile(name=name, repo=f"us/{name}", files=("a.safetensors",), licence="MIT")


@pytest.fixture
def rewards(registered):
    def card(name, *files):
        fields = {"inputs": ("image",), "unit": "u", "range": (None, None)}
        return registered(RewardCard(name=name, summary="More.", weights=files, **fields), Level)

    card("one", weights("shared"), weights("own"))
    card("two", weights("shared"))
    card("none")


def run(*arguments):
    return CliRunner().invoke(main, ["pull", *arguments])


def test_each_file_is_told_once(server, rewards):
    server("us/shared", "1" * 40, a__safetensors=b"shared")
    server("us/own", "2" * 40, a__safetensors=b"own")
    result = run("one", "two", "--json")
    assert result.exit_code == 0
    told = [(f["name"], f["size"], f["revision"], f["sha256"]) for f in json.loads(result.stdout)]
    assert told == [
        ("shared", 6, "1" * 40, hashlib.sha256(b"shared").hexdigest()),
        ("own", 3, "2" * 40, hashlib.sha256(b"own").hexdigest()),
    ]


def test_what_cannot_be_had_is_named_and_the_rest_is_pulled(server, rewards, tmp_path):
    server("us/shared", "1" * 40, a__safetensors=b"shared")
    result = run("one", "--to", str(tmp_path / "carried"))
    assert result.exit_code == 1
    assert "weights of own (us/own: a.safetensors)" in result.stderr
    assert "1" * 40 in result.stdout and "own" not in result.stdout.split("sha256")[1]
    assert [path.name for path in (tmp_path / "carried").iterdir()] == ["shared.safetensors"]


def test_a_reward_without_weights_says_so(home, rewards):
    result = run("none")
    assert (result.exit_code, result.stderr) == (0, "none needs no weights\n")


def test_a_name_nobody_registered_is_wrong_usage(home, rewards):
    result = run("one", "shrapness")
    assert result.exit_code == 2 and "Did you mean 'sharpness'" in result.stderr
