"""`bench list` and `bench show` say what there is."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.benchmark import catalogue
from rewardkit.cli import main


def run(*args):
    return CliRunner().invoke(main, ["bench", *args])


def test_the_list_names_every_benchmark():
    text = run("list").stdout
    for benchmark in catalogue().values():
        assert benchmark.name in text and benchmark.about in text


def test_the_list_is_json_too():
    listed = json.loads(run("list", "--json").stdout)
    assert [listing["name"] for listing in listed] == list(catalogue())
    (hps,) = [listing for listing in listed if listing["name"] == "hps.v2.1"]
    assert hps["samples"] == 1 and hps["rewards"] == "hps.v2.1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("geneval", ["00012/samples/00003.png", "mean over tasks", "arxiv.org"]),
        ("hps", ["hps.v2.1", "mean of all images", "TASK/00012.png", "cannot be compared"]),
        ("prompts", ["yours to choose: -r SPEC", "--prompts FILE", "00012-03.png"]),
        ("paper", ["hps.v2.1, prompts/pick-a-pic-test, geneval", "1,000 prompts"]),
        (
            "vbench-core",
            [
                "core-quality: weighted mean of 6 normalised criteria",
                "motion_smoothness: motion-smoothness, from 0.706 to 0.9975, weight 1",
                "dynamic_degree: dynamic-degree.raft > 1, from 0 to 1, weight 0.5",
                "FOLDER/PROMPT-3.mp4",
            ],
        ),
        ("videoalign", ["videoalign.overall", "--prompts FILE", "ta-hard (TA-Hard: "]),
        ("shapes", ["shapes-correct+shapes-graded"]),
    ],
)
def test_a_benchmark_is_shown(name, said):
    shown = run("show", name)
    assert shown.exit_code == 0
    for text in said:
        assert text in shown.stdout
    document = json.loads(run("show", name, "--json").stdout)
    assert document["name"].startswith(name) and isinstance(document["notes"], list)


def test_an_unknown_benchmark_is_wrong_usage_with_a_near_miss():
    done = run("show", "genevl")
    assert done.exit_code == 2 and "'geneval'" in done.stderr
    assert run("shw").exit_code == 2
