"""VideoAlign's benchmark is run on prompts that the user names, by one network."""

import pytest

from benchmarks.benchmark import get
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.spec import parse
from rewardkit.errors import UsageError

VIDEOALIGN = get("videoalign")


def test_all_scores_come_from_one_network():
    spec = parse(VIDEOALIGN.rewards, resolve)
    assert spec.names == (
        "videoalign.overall",
        "videoalign.vq-raw",
        "videoalign.mq-raw",
        "videoalign.ta-raw",
    )
    assert len({entry(name).card.weights for name in spec.names}) == 1


def test_prompts_are_chosen_and_name_the_result():
    with pytest.raises(UsageError, match="has no prompts of its own: choose them with -p"):
        VIDEOALIGN.on(None)
    for name in ("ta-hard", "vbench"):
        assert VIDEOALIGN.on(name).name == f"videoalign/{name}"
        # Clips of a list are made once, whatever scores them.
        assert VIDEOALIGN.on(name).media == get("video-prompts").on(name).media
    with pytest.raises(UsageError, match="has its own rewards"):
        VIDEOALIGN.by("hps.frames")
