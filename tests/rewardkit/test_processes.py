"""Several processes do the work of one: the same table, whoever is killed, and never a hang."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import launched
import pytest
import torch
from click.testing import CliRunner
from pictures import picture, pil

import rewardkit
from rewardkit.cli import main
from rewardkit.errors import InputError, RewardKitError, UsageError
from rewardkit.processes import ALONE, AnotherProcessFailed, Processes
from rewardkit.records.journal import Journal
from rewardkit.records.rows import Row
from rewardkit.records.scorefile import ScoreFile
from rewardkit.records.seen import Seen

SLOW = """
import time
def slow(batch):
    time.sleep(0.03 * len(batch))
    return [float(m.float().mean()) for m in batch.media]
"""
LAUNCHER = {"MASTER_ADDR": "node1", "MASTER_PORT": "29500"}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(40):
        pil(picture(seed, 8, 8)).save(folder / f"{seed:02d}.png")
    (folder / "17.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "my.py").write_text(SLOW)
    time.sleep(0.06)  # a file as young as this when it is read counts as possibly changed
    return folder


def score(output, *more):
    command = ["score", "photos", "-r", "./my.py:slow+contrast", "--batch-size", "4"]
    return [*command, "-o", output, *more]


def one_process(arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "rewardkit", *arguments],
        cwd=cwd,
        env=launched.environment(),
        capture_output=True,
        text=True,
    )


def provenance(table):
    """What is beside a table, but for times."""
    meta = json.loads(table.with_name(f"{table.name}.meta.json").read_text())
    return {key: value for key, value in meta.items() if key not in ("oldest_read", "finished")}


def assert_same(folder, *names):
    first, *others = (folder / name for name in names)
    for other in others:
        assert other.read_bytes() == first.read_bytes()
        assert provenance(other) == provenance(first)
    assert not list(folder.glob("*.journal*"))


def test_a_launcher_describes_the_processes():
    assert Processes.of_launcher({}) == Processes.of_launcher({"WORLD_SIZE": "1"}) == ALONE
    found = Processes.of_launcher({"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1", **LAUNCHER})
    assert found == Processes(9, 16, 1) and not found.first and not found.alone


@pytest.mark.parametrize(
    "change",
    [{"RANK": "2"}, {"RANK": ""}, {"LOCAL_RANK": "x"}, {"MASTER_PORT": ""}, {"MASTER_PORT": "x"}],
)
def test_half_a_launcher_is_refused(change):
    whole = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", **LAUNCHER}
    with pytest.raises(UsageError, match=r"RANK < WORLD_SIZE.*torchrun or accelerate launch"):
        Processes.of_launcher(whole | change)


def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch):
    used = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    devices = [Processes(rank, 4, rank).device("auto") for rank in range(4)]
    assert devices == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"] and used == [0, 1, 0, 1]
    assert Processes(3, 4, 3).device("cuda") == "cuda:1"
    assert Processes(3, 4, 3).device("cuda:0") == "cuda:0"
    assert Processes(3, 4, 3).device("cpu") == "cpu" and ALONE.device("auto") == "auto"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Processes(1, 2, 1).device("auto") == "auto"


def launch(monkeypatch, rank=0):
    """Lets this process believe that it is one of three."""
    place = {"RANK": str(rank), "WORLD_SIZE": "3", "LOCAL_RANK": str(rank), **LAUNCHER}
    for name, value in place.items():
        monkeypatch.setenv(name, value)


def test_a_command_for_one_process_is_refused_to_several(monkeypatch):
    launch(monkeypatch)
    done = CliRunner().invoke(main, ["compare", "a.parquet", "b.parquet"])
    assert done.exit_code == 2 and "compare runs in one process" in done.stderr
    done = CliRunner().invoke(main, ["bench", "merge", "a.json"])
    assert done.exit_code == 2 and "merge runs in one process" in done.stderr


def test_a_shard_of_processes_that_share_the_prompts_already_is_refused(monkeypatch, tmp_path):
    launch(monkeypatch)
    command = ["bench", "run", "shapes", "--model", "shapes-flow", "--shard", "1/2"]
    done = CliRunner().invoke(main, [*command, "-o", str(tmp_path)])
    assert done.exit_code == 2 and "--shard is given to 3 processes" in done.stderr


def test_each_process_scores_whole_batches_and_the_first_writes_all(photos, tmp_path, monkeypatch):
    spec = "contrast+sharpness"
    (photos / "17.png").unlink()
    whole = rewardkit.score_folder(photos, spec, output=tmp_path / "one.parquet", batch_size=4)
    places = {row.id: place for place, row in enumerate(whole.rows)}
    launched.one_after_another(monkeypatch)
    several = {"output": tmp_path / "three.parquet", "batch_size": 4}
    for rank in (2, 1):
        with pytest.raises(AnotherProcessFailed):
            rewardkit.score_folder(photos, spec, processes=Processes(rank, 3, rank), **several)
        rows = Journal.read(tmp_path / f"three.parquet.journal.{rank}")[1]
        batches = {places[row["id"]] // 4 for row in rows}
        assert sorted(batches) == list(range(rank, 10, 3)) and not len(rows) % 4
        assert not (tmp_path / "three.parquet").exists()
    report = rewardkit.score_folder(photos, spec, processes=Processes(0, 3, 0), **several)
    assert len(report) == 39
    assert_same(tmp_path, "one.parquet", "three.parquet")


def test_what_several_processes_left_is_continued_by_any_number(photos, tmp_path, monkeypatch):
    launched.one_after_another(monkeypatch)
    spec = "contrast+sharpness"
    rewardkit.score_folder(photos, spec, output=tmp_path / "one.parquet", batch_size=4)
    several = {"output": tmp_path / "out.parquet", "batch_size": 4}
    with pytest.raises(AnotherProcessFailed):
        rewardkit.score_folder(photos, spec, processes=Processes(2, 3, 2), **several)
    with pytest.raises(InputError, match=r"out\.parquet\.journal\.2 was started with spec"):
        rewardkit.score_folder(photos, "contrast", **several)
    report = rewardkit.score_folder(photos, spec, **several)
    assert report.reused == 12, "process 2 has scored three batches"
    assert_same(tmp_path, "one.parquet", "out.parquet")


def test_rows_that_cannot_be_seen_are_never_left_out(photos, tmp_path, monkeypatch):
    launched.one_after_another(monkeypatch)
    output = tmp_path / "out.parquet"
    first = Processes(0, 3, 0)
    with pytest.raises(InputError, match=r"24 of 40 rows .* '04'.*share one file system"):
        rewardkit.score_folder(photos, "contrast", output=output, batch_size=4, processes=first)
    assert not output.exists()


def test_overwriting_takes_no_row_of_an_earlier_run(tmp_path):
    row = Row("a", "a.png", None, {"contrast": 1.0})

    def opened(made_by, writer):
        settings = {"with_total": False, "overwrite": True, "writer": writer}
        return ScoreFile.open(tmp_path / "out.csv", {"spec": made_by}, ["contrast"], **settings)

    with opened("old", 2) as file:
        file.add([(Seen(9.0, None), row)])
    with opened("new", 0) as first:
        assert not list(tmp_path.glob("*.journal.2"))
        with opened("new", 1) as second:
            second.add([(Seen(1.0, None), replace(row, scores={"contrast": 2.0}))])
        first.gather(["a"])
        assert first.rows["a"].scores == {"contrast": 2.0}
        first.finish(["a"], {})
    assert not list(tmp_path.glob("*.journal*"))


def test_several_processes_need_an_output(photos, monkeypatch):
    launched.one_after_another(monkeypatch)
    with pytest.raises(UsageError, match="give -o FILE"):
        rewardkit.score_folder(photos, "contrast", processes=Processes(0, 2, 0))


def test_two_processes_write_the_table_of_one(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"output": "one.parquet", "batch_size": 4}
    whole = rewardkit.score_folder("photos", "./my.py:slow+contrast", **settings)
    processes = launched.start("rewardkit", score("two.parquet", "--json"), 2, tmp_path)
    (out, err), second = launched.ends(processes)
    assert second == ("", "") and [process.returncode for process in processes] == [1, 0]
    assert [json.loads(line) for line in out.splitlines()] == [asdict(row) for row in whole.rows]
    assert "Error: 1 of 40 files" in err
    assert_same(tmp_path, "one.parquet", "two.parquet")


@pytest.mark.slow
def test_a_request_that_no_process_can_meet_is_refused_once(photos, tmp_path):
    processes = launched.start("rewardkit", score("a.parquet", "-r", "no"), 2, tmp_path)
    (_, error), second = launched.ends(processes)
    assert "Error: unknown reward 'no'" in error and second == ("", "")
    assert [process.returncode for process in processes] == [2, 1]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_others_and_its_work_is_continued(photos, tmp_path, killed):
    one_process(score("one.parquet"), tmp_path)
    processes = launched.start("rewardkit", score("three.parquet"), 3, tmp_path)
    journal = tmp_path / f"three.parquet.journal{f'.{killed}' if killed else ''}"
    while not (journal.exists() and len(journal.read_bytes().splitlines()) > 1):
        assert processes[killed].poll() is None
        time.sleep(0.01)
    processes[killed].send_signal(signal.SIGKILL)
    errors = [error for _, error in launched.ends(processes)]
    codes = [process.returncode for process in processes]
    assert codes == [-signal.SIGKILL if rank == killed else 1 for rank in range(3)]
    if killed != 0:
        assert "Error: another process of this job has ended" in errors[0]
    assert errors[1 if killed != 1 else 2] == "" and not (tmp_path / "three.parquet").exists()
    again = launched.start("rewardkit", score("three.parquet"), 3, tmp_path)
    (_, summary), *_ = launched.ends(again)
    assert int(re.search(r"(\d+) of them from before", summary)[1]) >= 4
    assert [process.returncode for process in again] == [1, 0, 0]
    assert_same(tmp_path, "one.parquet", "three.parquet")


@pytest.mark.slow
def test_torchrun_ends_with_the_first_process_that_is_killed_and_starts_again(photos, tmp_path):
    spec = ("-r", "shapes-clip", "--prompt", "a red ring", "--device", "cpu")
    one_process(score("one.parquet", *spec), tmp_path)
    job = launched.torchrun("rewardkit", score("three.parquet", *spec), 3, tmp_path)
    journal = tmp_path / "three.parquet.journal.1"
    while not (journal.exists() and len(journal.read_bytes().splitlines()) > 1):
        assert job.poll() is None
        time.sleep(0.01)
    writers = subprocess.run(["fuser", str(journal)], capture_output=True, text=True).stdout.split()
    subprocess.run(["kill", "-KILL", *writers], check=True)
    launched.ends([job])
    assert job.returncode != 0 and not (tmp_path / "three.parquet").exists()
    again = launched.torchrun("rewardkit", score("three.parquet", *spec), 3, tmp_path)
    ((_, summary),) = launched.ends([again])
    assert summary.count("Error: 1 of 40 files") == 1 and again.returncode == 1
    assert_same(tmp_path, "one.parquet", "three.parquet")


@pytest.mark.slow
def test_processes_that_cannot_reach_each_other_say_so(monkeypatch):
    from datetime import timedelta

    monkeypatch.setattr("rewardkit.processes._TO_START", timedelta(seconds=1))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(RewardKitError, match=r"cannot reach each other.*GLOO_SOCKET_IFNAME"):
        Processes(1, 2, 1).meet()
