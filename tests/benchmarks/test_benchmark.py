"""Benchmarks are found by name, ours and plug-ins', and take what is the user's to give."""

import sys
from dataclasses import replace
from importlib.metadata import EntryPoint

import pytest
from tiny_benchmarks import CASES, TINY, without_prompts

from benchmarks import benchmark as registry
from benchmarks.benchmark import Benchmark, catalogue, get
from benchmarks.layout import Layout
from benchmarks.prompts import PromptSet
from rewardkit import plugins
from rewardkit.errors import RewardKitError, UsageError


def test_a_family_means_its_default_version():
    assert get("hps").name == get("HPS").name == get("hps.v2.1").name == "hps.v2.1"


@pytest.mark.parametrize(("name", "meant"), [("genevla", "geneval"), ("shape", "shapes")])
def test_an_unknown_name_gets_a_near_miss(name, meant):
    with pytest.raises(UsageError, match=rf"unknown benchmark '{name}'.*'{meant}'"):
        get(name)


def test_a_name_is_given_once(known):
    known(TINY)
    assert get("tiny") is TINY
    with pytest.raises(RewardKitError, match="two benchmarks are named tiny"):
        known(TINY)


@pytest.mark.parametrize("name", ["Tiny", "a/b", "", ".hidden", "two words"])
def test_a_name_that_files_and_commands_cannot_have_is_refused(name, known):
    with pytest.raises(RewardKitError, match="cannot be named"):
        known(replace(TINY, name=name))


def test_a_plug_in_registers_its_own(known, tmp_path, monkeypatch):
    (tmp_path / "plugged_benchmark.py").write_text(
        "from dataclasses import replace\n"
        "from tiny_benchmarks import TINY\n"
        "from benchmarks.benchmark import register\n"
        "register(replace(TINY, name='plugged'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("plugged", "plugged_benchmark", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: {entry.group: [entry]}[group])
    catalogue.cache_clear()
    assert get("plugged").about == TINY.about
    monkeypatch.delitem(sys.modules, "plugged_benchmark")


def test_a_plug_in_that_cannot_be_loaded_is_told(known, monkeypatch):
    entry = EntryPoint("lost", "no_such_module_of_benchmarks", registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    catalogue.cache_clear()
    with pytest.raises(RewardKitError, match=r"no_such_module_of_benchmarks.*ModuleNotFound"):
        catalogue()


def test_prompts_and_rewards_that_are_yours_to_choose_must_be_given(tmp_path):
    free = without_prompts()
    with pytest.raises(UsageError, match="tiny has no prompts of its own: choose them with -p"):
        free.on(None)
    with pytest.raises(UsageError, match="tiny has no rewards of its own: choose them with -r"):
        free.by(None)
    (tmp_path / "my prompts.txt").write_text("a cat\na dog\n")
    chosen = free.on(str(tmp_path / "my prompts.txt")).by("sharpness")
    assert (chosen.name, chosen.media, chosen.rewards) == (
        "tiny/my-prompts",
        "my-prompts",
        "sharpness",
    )
    assert [case.prompt for case in chosen.prompts().cases] == ["a cat", "a dog"]


def test_prompts_and_rewards_of_a_benchmarks_own_cannot_be_given():
    with pytest.raises(UsageError, match=r"tiny has its own prompts: leave out -p x\.txt"):
        TINY.on("x.txt")
    with pytest.raises(UsageError, match="tiny has its own rewards: leave out -r hps"):
        TINY.by("hps")
    assert TINY.on(None).by(None) is TINY


def test_rewards_alone_can_be_the_users_choice():
    assert replace(TINY, rewards=None).on(None).by("contrast").rewards == "contrast"


def test_several_pictures_of_a_prompt_need_places_for_them():
    assert TINY.with_samples(None) is TINY
    assert TINY.with_samples(3).samples == 3
    single = replace(TINY, samples=1, layout=Layout(lambda case, sample: "0", r"(?P<prompt>\d+)"))
    assert single.with_samples(1) is single
    with pytest.raises(UsageError, match="tiny takes one sample per prompt; 2"):
        single.with_samples(2)


def test_the_checksum_of_prompts_is_of_all_they_say():
    def checksum(**changes):
        return PromptSet("x", [replace(CASES[0], **changes), *CASES[1:]]).sha256

    assert PromptSet("elsewhere", CASES).sha256 == checksum()
    assert (
        len({checksum(), checksum(prompt="b"), checksum(tags=("b",)), checksum(meta={"n": 1})}) == 4
    )


def test_every_benchmark_of_ours_is_complete():
    for benchmark in catalogue().values():
        assert benchmark.about and len(benchmark.about) <= 90
        if isinstance(benchmark, Benchmark):
            assert benchmark.samples == 1 or benchmark.layout.numbers_samples
            assert benchmark.rewards or benchmark.prompts is None
