"""`rewardkit verify`: exit 0 where every published score is met, 1 where one is not."""

import hashlib
import json

import huggingface_hub.constants
import pytest
from click.testing import CliRunner
from PIL import Image

from rewardkit.cli import main
from rewardkit.engine.card import PublishedScore, RewardCard
from rewardkit.engine.reward import MeasuredReward


class Level(MeasuredReward):
    """The mean level: 100 for a picture that is flat grey 100."""

    def measure(self, medium):
        return float(medium.float().mean())


@pytest.fixture
def level(registered, home, monkeypatch):
    """Registers `level`, whose published score is the one given, and hands over the picture."""
    path = home / "flat.png"
    Image.new("RGB", (4, 3), (100, 100, 100)).save(path)
    monkeypatch.setenv("REWARDKIT_TEST_DATA", str(home))
    # Nothing real is downloaded, whatever other rewards have published.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def publish(value):
        one = PublishedScore(
            picture="flat.png",
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            url="http://127.0.0.1:9/flat.png",
            prompt="a [red] cat",
            value=value,
            tolerance=1.0,
            source="https://example.org",
        )
        fields = {"inputs": ("image",), "unit": "u", "range": (None, None)}
        registered(RewardCard(name="level", summary="More.", published=(one,), **fields), Level)

    return publish


def run(*arguments):
    return CliRunner().invoke(main, ["verify", *arguments, "--device", "cpu"])


def test_a_score_that_is_met_is_a_row_with_the_environment_below(level):
    level(100.5)
    result = run("level")
    assert (result.exit_code, result.stderr) == (0, "")
    heading, row, _, environment = result.stdout.splitlines()
    assert " ".join(heading.split()) == (
        "reward picture prompt published ours delta tolerance verdict"
    )
    assert " ".join(row.split()) == "level flat.png a [red] cat 100.5 100 -0.5 1 ok"
    assert environment.startswith("on cpu with rewardkit ") and ", torch " in environment


def test_a_score_beyond_its_tolerance_is_a_failure(level):
    level(102.0)
    result = run("level")
    assert result.exit_code == 1
    assert "-2" in result.stdout and "beyond tolerance" in result.stdout
    assert "1 of 1 published values were not met" in result.stderr


def test_json_holds_what_it_takes_to_believe_it(level):
    level(100.5)
    found = json.loads(run("level", "--json").stdout)
    (check,) = found["checks"]
    assert (check["ours"], check["delta"], check["verdict"]) == (100.0, -0.5, "ok")
    assert found["device"] == "cpu" and "torch" in found["versions"] and found["weights"] == {}


def test_without_a_name_all_are_checked_and_missing_weights_are_named(level):
    level(100.5)
    result = run("--json")
    assert result.exit_code == 1
    checks = json.loads(result.stdout)["checks"]
    verdicts = {c["reward"]: c["verdict"] for c in checks}
    assert verdicts["level"] == "ok" and verdicts["imagereward.v1"] == "not computed"
    # Its networks and pictures come in packages: English and Chinese, at full size.
    assert [c["verdict"] for c in checks if c["reward"] == "ocr.similarity"] == ["ok", "ok"]
    assert "Error: imagereward.v1: weights of imagereward.vocabulary (google-bert/" in result.stderr


def test_a_reward_without_published_values_says_so(home):
    result = run("sharpness")
    assert result.exit_code == 0
    assert result.stderr == "sharpness has no published values to compare with\n"
