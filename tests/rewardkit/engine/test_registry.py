"""Which rewards exist, and what an unknown, double or malformed name meets."""

import re

import pytest

from rewardkit.engine import registry
from rewardkit.engine.card import RewardCard
from rewardkit.engine.reward import MeasuredReward
from rewardkit.errors import RewardKitError, UsageError


def card(name):
    return RewardCard(name=name, summary="More.", inputs=("image",), unit="u", range=(None, None))


class Constant(MeasuredReward):
    def measure(self, medium):
        return 1.0


@pytest.fixture
def names(monkeypatch):
    """Registrations of this test alone, beside the package's own."""
    registry.list_rewards()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.setattr(registry, "_defaults", dict(registry._defaults))


def test_a_bare_family_is_its_declared_default():
    assert registry.resolve("clip") == "clip.vit-l-14"
    assert registry.resolve("CLIP") == "clip.vit-l-14"
    assert registry.resolve("Clip.ViT-B-32") == "clip.vit-b-32"


def test_an_unknown_name_gets_a_near_miss():
    with pytest.raises(UsageError, match=r"unknown reward 'sharpnes'. Did you mean 'sharpness'"):
        registry.resolve("sharpnes")


def test_a_double_name_tells_both_origins(names):
    registry.register(card("mine"))(Constant)
    with pytest.raises(RewardKitError, match="is taken") as caught:
        registry.register(card("mine"))(Constant)
    assert str(caught.value).count("Constant") == 2
    assert str(caught.value).count(__file__) == 2


def test_a_family_has_one_default(names):
    registry.register(card("mine.a"), default="mine.a")(Constant)
    with pytest.raises(RewardKitError, match=r"two defaults: mine\.a and mine\.b"):
        registry.register(card("mine.b"), default="mine.b")(Constant)


def test_a_short_name_stands_for_one_reward(names):
    registry.register(card("mine.v2-frames"), short_names={"mine.frames": "mine.v2-frames"})(
        Constant
    )
    assert registry.resolve("Mine.Frames") == "mine.v2-frames"
    with pytest.raises(RewardKitError, match=r"two defaults: mine\.v2-frames and mine\.v3-frames"):
        registry.register(card("mine.v3-frames"), short_names={"mine.frames": "mine.v3-frames"})(
            Constant
        )


def test_a_family_without_a_default_asks_which(names):
    registry.register(card("mine.a"))(Constant)
    assert registry.resolve("mine") == "mine.a"
    registry.register(card("mine.b"))(Constant)
    with pytest.raises(UsageError, match=r"choose one of mine\.a, mine\.b"):
        registry.resolve("mine")


@pytest.mark.parametrize("name", ["Mine", "mine.", ".mine", "mine two", "a+b", "a@1", "-mine", ""])
def test_a_malformed_name_is_refused(names, name):
    with pytest.raises(RewardKitError, match="is not a reward name"):
        registry.register(card(name))(Constant)


def test_cards_are_listed_by_kind():
    images = {card.name for card in registry.list_rewards("image")}
    videos = {card.name for card in registry.list_rewards("video")}
    assert {"clip.vit-l-14", "sharpness"} <= images
    assert {"temporal-stability"} <= videos
    assert "sharpness" not in videos and "temporal-stability" not in images
    assert images | videos == {card.name for card in registry.list_rewards()}


PLUGIN = """
from rewardkit import MeasuredReward, RewardCard, register

@register(RewardCard(name="from-afar", summary="One.", inputs=("image",), unit="u", range=(1, 1)))
class FromAfar(MeasuredReward):
    def measure(self, medium):
        return 1.0
"""


def distribution(folder, entry_point, module, code):
    """A distribution as an installer leaves it: a module, and metadata naming its entry point."""
    info = folder / "far_away-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: far-away\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{entry_point}]\nfar = {module}\n")
    (folder / f"{module.partition(':')[0]}.py").write_text(code)


def test_every_card_that_needs_a_prompt_says_what_an_empty_one_is():
    cards = [card for card in registry.list_rewards() if card.needs_prompt]
    assert len(cards) > 8
    for card in cards:
        assert any("empty prompt" in note and "missing" in note for note in card.notes), card.name


def test_another_distribution_adds_a_reward(names, tmp_path, monkeypatch):
    distribution(tmp_path, "rewardkit.rewards", "far_away", PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    registry._discover.cache_clear()
    assert registry.resolve("from-afar") == "from-afar"
    assert "far_away.py" in registry.entry("from-afar").origin


@pytest.mark.parametrize(
    "code", ["import nothing_of_that_name", "import sys; sys.exit(0)", "raise BaseException('no')"]
)
def test_a_plug_in_that_fails_costs_its_own_rewards_alone(
    names, tmp_path, monkeypatch, caplog, code
):
    distribution(tmp_path, "rewardkit.rewards", "broken_far_away", code)
    monkeypatch.syspath_prepend(tmp_path)
    registry._discover.cache_clear()
    reason = r"the reward plug-in far \(broken_far_away\) of far-away cannot be loaded"
    assert registry.resolve("sharpness") == "sharpness"
    assert not caplog.text
    with pytest.raises(UsageError, match=rf"(?s)unknown reward 'from-afar'.*{reason}"):
        registry.resolve("from-afar")
    assert "sharpness" in {card.name for card in registry.list_rewards()}
    assert re.search(reason, caplog.text)
    registry._discover.cache_clear()


def test_a_plain_function_is_a_reward(tmp_path):
    file = tmp_path / "my.py"
    file.write_text('def score(batch):\n    """Mine."""\n    return [0.5] * len(batch)\n')
    assert registry.resolve(f"{file}:score") == f"{file}:score"
    assert registry.entry(f"{file}:score").card.summary == "Mine."


@pytest.mark.parametrize(
    ("code", "name", "what"),
    [
        ("def score(batch): ...", "scor", "unknown function 'scor'. Did you mean 'score'"),
        ("1/0", "score", "cannot be run: ZeroDivisionError"),
        (None, "score", "there is no file"),
        ("\nimport sys\nsys.exit(0)", "score", r"cannot be run: SystemExit: 0 \(.*my\.py, line 3"),
        ("raise BaseException", "score", r"cannot be run: BaseException \(.*my\.py, line 1"),
    ],
)
def test_a_function_that_cannot_be_had_says_why(tmp_path, code, name, what):
    file = tmp_path / "my.py"
    if code is not None:
        file.write_text(code)
    with pytest.raises(UsageError, match=what):
        registry.resolve(f"{file}:{name}")
