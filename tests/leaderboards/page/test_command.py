"""The command of a result is the one that makes it again."""

import shlex

import pytest
from made_results import made

from benchmarks.cli.run import run, score
from benchmarks.results import PromptInfo
from leaderboards.page.command import command


def parsed(result):
    """The command as click understands it, and what it is asked."""
    program, group, name, *words = shlex.split(" ".join(command(result)))
    assert (program, group) == ("rewardkit", "bench")
    one = {"run": run, "score": score}[name]
    names = ["-h", "--help"]  # as the group has them: a command keeps the first it sees
    return name, one.make_context(name, words, help_option_names=names).params


def test_it_gives_each_setting_of_the_protocol():
    model = {"alias": "alpha", "lora": "runs/a b/model", "revision": "abc"}
    name, asked = parsed(made("tuned", model=model, seed=7, dtype="bfloat16").result)
    assert name == "run"
    told = {
        "benchmark": "quiz", "model": "alpha", "tuned": "runs/a b/model", "revision": "abc",
        "name": "tuned", "seed": 7, "steps": 20, "guidance": 4.5, "width": 512, "height": 512,
        "dtype": "bfloat16", "batch_size": 4, "samples": 2, "shard": None, "allow_partial": False,
    }  # fmt: skip
    assert {key: asked[key] for key in told} == told


def test_what_is_not_whole_says_so():
    name, asked = parsed(made(judge=lambda task, index, sample: index or None).result)
    assert (name, asked["allow_partial"]) == ("run", True)
    whole = made().result
    shard = whole.model_copy(update={"shard": "1/3", "complete": False})
    _, asked = parsed(shard)
    assert (asked["shard"], asked["allow_partial"]) == ("1/3", False)


def test_pictures_made_elsewhere_are_scored(tmp_path):
    result = made("theirs", model={"source": None, "trained_on": {"reward": "judge"}}).result
    folder = str(tmp_path)
    elsewhere = result.media.model_copy(update={"made_here": False, "folder": folder})
    name, asked = parsed(result.model_copy(update={"media": elsewhere}))
    assert name == "score"
    told = {"name": "theirs", "trained_on": "judge", "samples": 2}
    assert {key: asked[key] for key in told} == told
    assert asked["media"] == tmp_path


@pytest.mark.parametrize(
    ("benchmark", "prompts"),
    [("prompts/mine", "my lists/mine.jsonl"), ("prompts/drawbench", "drawbench")],
)
def test_prompts_and_rewards_of_ones_own_are_told(benchmark, prompts):
    source = PromptInfo(source="my lists/mine.jsonl", sha256="a" * 64, number=24)
    _, asked = parsed(made(benchmark=benchmark, prompts=source).result)
    assert (asked["benchmark"], asked["prompts"]) == ("prompts", prompts)
    assert asked["rewards"] == "judge+second"


def test_no_word_of_a_name_becomes_an_option_or_a_command():
    name = "a; rm -rf / --overwrite $(x) 'y'"
    _, asked = parsed(made(name).result)
    assert (asked["name"], asked["overwrite"]) == (name, False)
