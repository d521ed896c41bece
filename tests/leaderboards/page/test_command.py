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
    subcommand = {"run": run, "score": score}[name]
    names = ["-h", "--help"]  # as the group has them: a command keeps the first it sees
    return name, subcommand.make_context(name, words, help_option_names=names).params


def test_it_gives_each_setting_of_the_protocol():
    model = {"alias": "alpha", "lora": "runs/a b/model", "revision": "abc"}
    name, arguments = parsed(made("tuned", model=model, seed=7, dtype="bfloat16").result)
    assert name == "run"
    fields = {
        "benchmark": "quiz", "model": "alpha", "tuned": "runs/a b/model", "revision": "abc",
        "name": "tuned", "seed": 7, "steps": 20, "guidance": 4.5, "width": 512, "height": 512,
        "dtype": "bfloat16", "batch_size": 4, "samples": 2, "shard": None, "allow_partial": False,
    }  # fmt: skip
    assert {key: arguments[key] for key in fields} == fields


def test_what_is_not_whole_says_so():
    name, options = parsed(made(judge=lambda task, index, sample: index or None).result)
    assert (name, options["allow_partial"]) == ("run", True)
    whole = made().result
    shard = whole.model_copy(update={"shard": "1/3", "complete": False})
    _, options = parsed(shard)
    assert (options["shard"], options["allow_partial"]) == ("1/3", False)


def test_pictures_made_elsewhere_are_scored(tmp_path):
    result = made("theirs", model={"source": None, "trained_on": {"reward": "judge"}}).result
    folder = str(tmp_path)
    elsewhere = result.media.model_copy(update={"made_here": False, "folder": folder})
    name, options = parsed(result.model_copy(update={"media": elsewhere}))
    assert name == "score"
    fields = {"name": "theirs", "trained_on": "judge", "samples": 2}
    assert {key: options[key] for key in fields} == fields
    assert options["media"] == tmp_path


@pytest.mark.parametrize(
    ("benchmark", "prompts"),
    [("prompts/mine", "my lists/mine.jsonl"), ("prompts/drawbench", "drawbench")],
)
def test_prompts_and_rewards_of_ones_own_are_told(benchmark, prompts):
    source = PromptInfo(source="my lists/mine.jsonl", sha256="a" * 64, number=24)
    _, options = parsed(made(benchmark=benchmark, prompts=source).result)
    assert (options["benchmark"], options["prompts"]) == ("prompts", prompts)
    assert options["rewards"] == "judge+second"


def test_no_word_of_a_name_becomes_an_option_or_a_command():
    name = "a; rm -rf / --overwrite $(x) 'y'"
    _, options = parsed(made(name).result)
    assert (options["name"], options["overwrite"]) == (name, False)
