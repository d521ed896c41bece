"""The paper's table is made of parts that exist, with prompts that can be brought along."""

import json

from benchmarks.benchmark import Suite, get
from benchmarks.catalogue import geneval
from benchmarks.catalogue.hps import STYLES
from rewardkit.engine.registry import resolve
from rewardkit.engine.spec import parse


def test_parts_and_their_rewards_exist():
    suite = get("paper")
    assert isinstance(suite, Suite)
    parts = suite.parts()
    assert [part.name for part in parts] == ["hps.v2.1", "prompts/pick-a-pic-test", "geneval"]
    assert [str(parse(part.rewards, resolve)) for part in parts] == [part.rewards for part in parts]
    assert len({part.media for part in parts}) == 3


def test_prompts_given_as_files_need_no_network(home, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(home))
    for style in STYLES:
        (home / f"hps-{style}.json").write_text(json.dumps([f"{style} {i}" for i in range(800)]))
    (home / "pick-a-pic-test.txt").write_text("\n".join(f"prompt {i}" for i in range(2048)))
    line = {"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "red"}]}
    monkeypatch.setattr(geneval, "NUMBER", 2)
    (home / "geneval-prompts.jsonl").write_text(
        "\n".join(json.dumps({**line, "prompt": prompt}) for prompt in ("a red cat", "red cat"))
    )
    read = [part.prompts() for part in get("paper").parts()]
    assert [len(prompts.cases) for prompts in read] == [3200, 2048, 2]
