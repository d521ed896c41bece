"""The script of `make gpu` goes on where a part fails, and says what it had no time for."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from session import Session


@pytest.fixture
def run(tmp_path):
    return Session(torch.device("cpu"), tiny=False, home=tmp_path, budget=60.0)


def test_a_part_that_fails_is_a_line_and_the_next_part_runs(run, tmp_path):
    def broken(made):
        made.measured("first", 1.0, "s")
        raise ValueError("it broke")

    run.run("one", broken, 1)
    run.run("two", lambda made: made.at_most("error", 0.5, 1.0), 1)
    assert [(line.part, line.status) for line in run.lines] == [
        ("one", "measured"), ("one", "failed"), ("two", "passed"),
    ]  # fmt: skip
    assert run.failed[0].reason == "ValueError: it broke"
    run.write(tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert torch.__version__.startswith(written["versions"]["torch"])
    assert len(written["lines"]) == 3


def test_an_item_that_fails_leaves_the_others_of_its_part(run):
    def part(made):
        for number in (1.0, "x", 2.0):
            with made.attempt(f"item {number}"):
                made.measured(f"item {number}", number + 0.0, "")

    run.run("one", part, 1)
    assert [line.status for line in run.lines] == ["measured", "failed", "measured"]


def test_a_part_without_time_is_a_line_that_says_so(run):
    run.run("long", lambda made: made.measured("x", 1.0, ""), 61)
    (line,) = run.lines
    assert line.status == "not run"
    assert line.reason.startswith("out of time: it needs 61 s, and 60 s are left")
    assert not run.failed


def test_a_part_that_takes_too_long_is_stopped_and_fails(run):
    run.run("slow", lambda made: time.sleep(30), 0.1)
    (line,) = run.lines
    assert line.status == "failed" and line.reason.startswith("OutOfTime")


@pytest.mark.parametrize(("value", "status"), [(0.9, "passed"), (1.1, "failed")])
def test_a_limit_is_kept_or_broken(run, value, status):
    run.run("one", lambda made: made.at_most("error", value, 1.0), 1)
    assert [line.status for line in run.lines] == [status]


def test_a_value_that_is_no_number_fails(run):
    run.run("one", lambda made: made.measured("x", float("nan"), "s"), 1)
    assert run.failed[0].reason == "the value is nan" and run.lines[0].value is None
