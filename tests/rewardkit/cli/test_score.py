"""The `rewardkit` command as a user types it: output, exit codes, kill and resume."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from pictures import picture, pil

from rewardkit.records.rows import read_rows


def rewardkit(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "rewardkit.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        **options,
    )


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(4):
        pil(picture(seed, 20, 30)).save(folder / f"{seed}.png")
    return folder


def test_rows_are_data_and_the_summary_is_not(photos):
    done = rewardkit("score", photos, "-r", "contrast+exposure")
    assert done.returncode == 0
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["id", "contrast", "exposure"]
    assert [row.split()[0] for row in rows] == ["0", "1", "2", "3"]
    assert "mean" in done.stderr and "median" in done.stderr


def test_json_lines_are_for_programs(photos):
    done = rewardkit("score", photos, "-r", "2*contrast", "--json", "--prompt", "a [red] \n cat")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0]["prompt"] == "a [red] \n cat"
    assert rows[0]["total"] == pytest.approx(2 * rows[0]["scores"]["contrast"])


def test_a_failure_is_a_row_a_count_and_exit_code_1(photos, tmp_path):
    (photos / "1.png").write_bytes(b"")
    done = rewardkit("score", photos, "-r", "contrast", "-o", tmp_path / "s.csv")
    assert done.returncode == 1
    assert "1 of 4 files" in done.stderr and "empty" in done.stderr
    rows = read_rows(tmp_path / "s.csv").rows
    assert [row.scores["contrast"] is None for row in rows] == [False, True, False, False]
    assert "empty" in rows[1].error


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["score", "nowhere", "-r", "contrast"], "'nowhere' does not exist"),
        (["score", ".", "-r", "contrats"], "Did you mean 'contrast'"),
        (["score", ".", "-r", "contrast+"], "a reward name is missing here"),
        (["score", ".", "-r", "clip"], "needs one"),
        (["score", "."], "Missing option '-r'"),
        (["scor"], "Did you mean 'score'"),
        (["score", ".", "-r", "contrast", "--weights", "x"], "takes NAME=PATH"),
        (
            ["score", ".", "-r", "contrast+clip", "--prompt", "x", "--weights", "clip=0.png"],
            "unknown name of weights 'clip'",
        ),
        (["score", ".", "-r", "contrast", "--fps", "8"], "these are pictures"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_message(photos, arguments, what):
    done = rewardkit(*arguments, cwd=photos)
    assert done.returncode == 2
    assert what in done.stderr and "Traceback" not in done.stderr
    assert not done.stdout


def test_paths_come_from_stdin(photos):
    paths = "\n".join(str(path) for path in sorted(photos.iterdir())[:2])
    done = rewardkit("score", "-", "-r", "contrast", input=paths)
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.slow
def test_weights_that_cannot_be_had_are_exit_code_1(photos, tmp_path):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = rewardkit("score", photos, "-r", "clip.vit-b-32", "--prompt", "a cat", env=environment)
    assert done.returncode == 1
    assert "--weights clip.vit-b-32=PATH" in done.stderr and "Traceback" not in done.stderr


SLOW = """
import time
def slow(batch):
    time.sleep(0.03)
    return [float(m.float().mean()) for m in batch.media]
"""


@pytest.mark.slow
def test_killed_anywhere_and_started_again_is_as_if_never_killed(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(120):
        pil(picture(seed, 8, 8)).save(folder / f"{seed:03d}.png")
    (folder / "077.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "my.py").write_text(SLOW)
    command = [sys.executable, "-m", "rewardkit.cli", "score", "photos", "-r"]
    command += ["./my.py:slow+contrast", "--batch-size", "4", "-o"]

    def start(output):
        return subprocess.Popen(
            [*command, output], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    assert start("whole.parquet").wait() == 1
    rng = random.Random(0)
    journal = tmp_path / "killed.parquet.journal"
    kills = reused = 0
    while True:
        before = len(journal.read_bytes().splitlines()) if journal.exists() else 0
        run = start("killed.parquet")
        # Let it get at least one batch further, then kill it at a random moment.
        while run.poll() is None and kills < 4:
            if journal.exists() and len(journal.read_bytes().splitlines()) > before + 1:
                time.sleep(rng.uniform(0, 0.15))
                run.send_signal(signal.SIGKILL)
                run.wait()
        code = run.wait()
        if code != -signal.SIGKILL:
            break
        kills += 1
        reused = len(journal.read_bytes().splitlines()) - 1
    assert kills == 4 and reused >= 4
    assert code == 1
    assert read_rows(tmp_path / "killed.parquet") == read_rows(tmp_path / "whole.parquet")
    whole, killed = (
        json.loads((tmp_path / f"{name}.parquet.meta.json").read_text())
        for name in ("whole", "killed")
    )
    for meta in (whole, killed):
        for key in ("finished", "oldest_read"):
            del meta[key]
    assert killed == whole
    assert not journal.exists()
