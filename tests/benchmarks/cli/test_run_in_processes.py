"""A benchmark that several processes run is the benchmark that one process runs."""

import json
import signal
import time

import launched
import pytest
from tiny_benchmarks import CASES, result_of, said

from rewardkit.processes import AnotherProcessFailed, Processes

NAME = "shapes-flow.prompts-three.json"


@pytest.fixture
def command(tmp_path):
    path = tmp_path / "three.jsonl"
    lines = [("a red ring", "colors"), ("two boxes", "counting"), ("a blue star", "colors")]
    path.write_text("".join(json.dumps({"prompt": p, "tag": t}) + "\n" for p, t in lines))
    chosen = ["prompts", "-p", "three.jsonl", "-r", "sharpness+shapes-clip", "--samples", "2"]
    model = ["--model", "shapes-flow", "--device", "cpu", "--steps", "2"]
    return ["bench", "run", *chosen, *model]


def test_the_result_of_processes_is_that_of_one(folder, tmp_path, monkeypatch):
    whole = result_of(folder, tmp_path / "one")
    launched.one_after_another(monkeypatch)
    for rank in (2, 1):
        with pytest.raises(AnotherProcessFailed):
            result_of(folder, tmp_path / "three", processes=Processes(rank, 3, rank))
    path = result_of(folder, tmp_path / "three", processes=Processes(0, 3, 0))
    assert said(path) == said(whole)
    assert path.with_suffix(".parquet").read_bytes() == whole.with_suffix(".parquet").read_bytes()
    assert len(CASES) == 7, "shares of several sizes"


@pytest.mark.slow
@pytest.mark.parametrize("wait_for", ["00001-00.png", "*.journal.1"])
def test_a_killed_process_of_a_run_is_continued_to_the_result_of_one(command, tmp_path, wait_for):
    launched.ends(launched.start("rewardkit", [*command, "-o", "one"], 1, tmp_path))
    processes = launched.start("rewardkit", [*command, "-o", "three"], 3, tmp_path)
    while not any((tmp_path / "three").rglob(wait_for)):
        assert processes[1].poll() is None
        time.sleep(0.001)
    processes[1].send_signal(signal.SIGKILL)
    launched.ends(processes)
    assert [process.returncode for process in processes] == [1, -signal.SIGKILL, 1]
    again = launched.start("rewardkit", [*command, "-o", "three"], 3, tmp_path)
    printed = [out for out, _ in launched.ends(again)]
    assert [process.returncode for process in again] == [0, 0, 0]
    assert "sharpness" in printed[0] and printed[1:] == ["", ""]
    assert said(tmp_path / "three" / NAME) == said(tmp_path / "one" / NAME)
    tables = [(tmp_path / out / NAME).with_suffix(".parquet") for out in ("one", "three")]
    assert tables[0].read_bytes() == tables[1].read_bytes()


@pytest.mark.slow
def test_more_processes_than_prompts_are_refused(command, tmp_path):
    processes = launched.start("rewardkit", [*command, "-o", "four"], 4, tmp_path)
    for _, error in launched.ends(processes):
        assert "4 shards or processes of 3 prompts" in error
    assert [process.returncode for process in processes] == [2] * 4
