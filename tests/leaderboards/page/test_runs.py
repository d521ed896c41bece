"""What runs logged is read as it was written, or refused with the line."""

import pytest

from leaderboards.page.runs import read_runs
from rewardkit.errors import InputError


def test_curves_sheets_and_facts_are_read(runs, tmp_path):
    (run,) = runs
    assert run.name == "first"
    assert run.facts["model"] == "hub/alpha" and run.facts["method"] == "nft"
    assert [point.step for point in run.trained["judge"]] == list(range(1, 21))
    assert run.held_out["judge"] == ((0, 0.3, 0.05), (20, 0.5, 0.04))
    assert run.held_out["second"] == ((0, 1.0, None), (20, 1.5, None))
    assert "lr" not in run.trained
    assert (run.first.step, run.last.step) == (0, 20)
    assert read_runs(tmp_path / "runs" / "first")[0].name == "first"


def test_a_line_that_is_being_written_is_left_out(runs, tmp_path):
    log = tmp_path / "runs" / "first" / "metrics.jsonl"
    with log.open("a") as file:
        file.write('{"step": 21, "reward/ju')
    assert read_runs(tmp_path / "runs")[0].trained == runs[0].trained


@pytest.mark.parametrize("line", ["[]", "{", '{"lr": 1}', '{"step": 1, "reward/a": NaN}'])
def test_a_damaged_log_is_told_by_its_line(line, runs, tmp_path):
    log = tmp_path / "runs" / "first" / "metrics.jsonl"
    log.write_text(f'{{"step": 0}}\n{line}\n')
    with pytest.raises(InputError, match="line 2"):
        read_runs(tmp_path / "runs")


def test_no_run_is_told(tmp_path):
    with pytest.raises(InputError, match="no run of `grpo train`"):
        read_runs(tmp_path)
