"""What a disk and a shell can do to a command: one line, an exit code, and it goes on."""

import errno
import os
import re
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from limits import files_up_to, rewardkit
from pictures import picture, pil

from rewardkit.cli import main
from rewardkit.cli.streams import machine_refusal
from rewardkit.records.journal import Journal
from rewardkit.records.rows import read_rows


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    (folder / "photos").mkdir()
    for number in range(6):
        pil(picture(number, 16, 16)).save(folder / "photos" / f"{number}.png")
    return folder


def run(*args):
    done = CliRunner().invoke(main, [str(arg) for arg in args])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def told(done):
    """The one line of a failed command."""
    code = done.exit_code if hasattr(done, "exit_code") else done.returncode
    assert code == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: "), line
    return line


def test_a_score_that_no_room_is_left_for_goes_on_to_the_same_table(photos, tmp_path):
    command = ("score", photos / "photos", "-r", "sharpness", "--batch-size", 1, "-o")
    with files_up_to(700):  # the header of the journal, and some rows
        failed = run(*command, tmp_path / "a.csv")
    assert "a.csv.journal: it is larger than the limit" in told(failed)
    kept = Journal.read(tmp_path / "a.csv.journal")[1]
    assert 0 < len(kept) < 6
    for name in ("a.csv", "b.csv"):
        assert run(*command, tmp_path / name).exit_code == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}.csv{end}" for name in "ab" for end in ("", ".meta.json")
    ]


@pytest.mark.parametrize("args", [("list",), ("score", "photos", "-r", "sharpness", "--json")])
def test_a_full_stdout_is_told(photos, args):
    with Path("/dev/full").open("w") as full:
        line = told(rewardkit(*args, cwd=photos, stdout=full))
    assert "no space left on the disk" in line


def test_closed_streams_are_empty_ones(photos):
    done = rewardkit("score", "photos", "-r", "sharpness", cwd=photos, closed=[1])
    assert (done.returncode, done.stdout) == (0, "")
    done = rewardkit("score", "-", "-r", "sharpness", cwd=photos, closed=[0])
    assert "nothing to score in '-'" in told(done)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a" * 251 + ".csv", "File name too long"),  # itself
        ("a" * 244 + ".csv", r"meta\.json: File name too long"),  # what stands beside it
        ("a\0b.csv", "null"),
        ("file/x.csv", "file/x.csv.journal: File exists"),
    ],
)
def test_a_name_that_no_file_can_have_is_told_before_scoring(photos, tmp_path, name, reason):
    (tmp_path / "file").touch()
    done = run("score", photos / "photos", "-r", "sharpness", "-o", f"{tmp_path}/{name}")
    assert done.exit_code == 1
    assert re.search(reason, done.stderr), done.stderr


def test_a_folder_where_the_provenance_goes_is_told_before_scoring(photos, tmp_path):
    (tmp_path / "a.csv.meta.json").mkdir()
    done = run("score", photos / "photos", "-r", "sharpness", "-o", tmp_path / "a.csv")
    assert done.exit_code == 1 and "meta.json: it is not a regular file" in done.stderr
    assert not (tmp_path / "a.csv.journal").exists()


def test_a_sheet_that_no_room_is_left_for_is_told(photos, tmp_path):
    table = tmp_path / "a.csv"
    assert run("score", photos / "photos", "-r", "sharpness", "-o", table).exit_code == 0
    for suffix in ("png", "jpg"):
        out = tmp_path / f"sheet.{suffix}"
        with files_up_to(200):
            done = run("sheet", table, "-o", out)
        assert f"cannot write {out}" in told(done)
        assert not out.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_what_the_system_refuses_anywhere_is_one_line(monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "/there/x")

    monkeypatch.setattr("rewardkit.engine.folder.score_folder", refuse)
    done = run("score", "x", "-r", "sharpness")
    assert done.exit_code == 1
    assert re.fullmatch(r"Error: cannot read or write /there/x: .*\n", done.stderr)


def test_mistakes_in_code_are_not_swallowed():
    assert machine_refusal(RuntimeError("size mismatch")) is None
    assert machine_refusal(OSError(errno.EINVAL, "Invalid argument")) is None
    assert machine_refusal(OSError("a library's own")) is None


def test_too_little_memory_is_one_line():
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")
    for cause in (MemoryError(), error):
        assert machine_refusal(cause).startswith("not enough memory")


def test_a_journal_removed_on_the_way_is_no_loss(photos, tmp_path, monkeypatch):
    table = tmp_path / "a.csv"
    real = Journal.append

    def append(self, rows):
        real(self, rows)
        (tmp_path / "a.csv.journal").unlink()

    monkeypatch.setattr(Journal, "append", append)
    assert run("score", photos / "photos", "-r", "sharpness", "-o", table).exit_code == 0
    assert len(read_rows(table).rows) == 6


def test_a_full_disk_in_the_thread_of_a_library_is_one_line(monkeypatch):
    def score(*_, **__):
        thread = threading.Thread(target=lambda: Path("/dev/full").write_bytes(b"x"))
        thread.start()
        thread.join()

    monkeypatch.setattr("rewardkit.engine.folder.score_folder", score)
    before = threading.excepthook
    done = CliRunner().invoke(main, ["score", "x", "-r", "sharpness"])
    assert done.stderr.startswith("Warning: cannot write the output: no space left")
    assert "Traceback" not in done.stderr and threading.excepthook is before
