"""The embedded world's benchmark asks for what its models were not trained on."""

from collections import Counter

import pytest

from benchmarks.benchmark import get
from rewardkit.engine.registry import entry
from rewardkit.media.prompts import read
from rewardkit.shapes.motion import TASKS

CLIPS = (("shapes-video", "motion-train"), ("shapes-i2v", "first-frame-train"))


def test_sixteen_prompts_of_each_of_six_tasks():
    cases = get("shapes").prompts().cases
    assert Counter(case.stratum for case in cases) == dict.fromkeys(
        ("single_object", "two_object", "counting", "colors", "position", "color_attr"), 16
    )


@pytest.mark.parametrize("name", ["shapes-video", "shapes-i2v"])
def test_twenty_four_prompts_of_each_task_of_clips(name):
    cases = get(name).prompts().cases
    assert Counter(case.stratum for case in cases) == dict.fromkeys(TASKS, 24)
    assert all(("first_frame" in case.references) == (name == "shapes-i2v") for case in cases)


@pytest.mark.parametrize(("name", "prompts"), [("shapes", "train"), *CLIPS])
def test_no_prompt_was_trained_on(name, prompts):
    trained = {line.prompt for line in read(f"package:rewardkit.shapes/lists/{prompts}.jsonl")}
    assert not trained & {case.prompt for case in get(name).prompts().cases}


@pytest.mark.parametrize("benchmark", ["shapes", "shapes-video", "shapes-i2v"])
def test_its_rewards_need_no_download(benchmark):
    for name in get(benchmark).rewards.split("+"):
        assert all(weights.host == "package" for weights in entry(name).card.all_weights)
