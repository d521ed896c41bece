"""The embedded world's benchmark asks for what its models were not trained on."""

from collections import Counter

from benchmarks.benchmark import get
from rewardkit.engine.registry import entry
from rewardkit.media.prompts import read


def test_sixteen_prompts_of_each_of_six_tasks():
    cases = get("shapes").prompts().cases
    assert Counter(case.stratum for case in cases) == dict.fromkeys(
        ("single_object", "two_object", "counting", "colors", "position", "color_attr"), 16
    )


def test_no_prompt_was_trained_on():
    trained = {line.prompt for line in read("package:rewardkit.shapes/lists/train.jsonl")}
    assert not trained & {case.prompt for case in get("shapes").prompts().cases}


def test_its_rewards_need_no_download():
    for name in get("shapes").rewards.split("+"):
        assert all(weights.host == "package" for weights in entry(name).card.all_weights)
