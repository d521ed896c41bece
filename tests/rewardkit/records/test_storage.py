import errno
import json
import os
from pathlib import Path

import pytest

from rewardkit.errors import InputError
from rewardkit.records.storage import atomic_write, remove_leftovers, write_json


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_an_atomic_write_creates_the_folder_and_leaves_only_the_target(tmp_path):
    target = tmp_path / "new" / "deep" / "scores.parquet"
    with atomic_write(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".parquet"
        temporary.write_text("whole")
        assert not target.exists()
    assert only_file(target.parent) == target
    assert target.read_text() == "whole"


def test_a_failed_atomic_write_leaves_the_old_file_and_no_temporary(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert only_file(tmp_path).read_text() == "old"


def test_an_atomically_written_file_has_the_permissions_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a.json"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640  # 0666 & ~0027


def test_an_atomic_write_through_a_link_changes_the_file_that_the_link_names(tmp_path):
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    real.write_text("old")
    link.symlink_to(real)
    with atomic_write(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_an_atomic_write_refuses_to_replace_what_is_not_a_regular_file(tmp_path):
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises(InputError, match="not a regular file"), atomic_write(path):
            pass


def test_an_atomic_write_below_a_file_says_that_it_cannot(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"), atomic_write(tmp_path / "file" / "a"):
        pass


def test_json_is_strict_readable_and_keeps_names_that_are_not_utf_8(tmp_path):
    path = tmp_path / "a.json"
    value = {"prompt": "猫 😀\n", "path": os.fsdecode(b"caf\xe9.png")}
    write_json(path, value)
    assert "猫 😀" in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8")) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"score": float("nan")})
    assert json.loads(path.read_text("utf-8")) == value


# What a disk refuses, and what killed writers leave.

REFUSALS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    OSError(errno.EFBIG, "File too large"),
    RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    OSError("encoder error -2 when writing image file"),  # Pillow's, without a number
]


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_what_the_disk_refuses_is_told_with_the_files_name(tmp_path, error):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(InputError, match=rf"^cannot write {target}: "), atomic_write(target) as new:
        new.write_text("half")
        raise error
    assert only_file(tmp_path).read_text() == "old"


def test_a_disk_that_is_full_when_the_file_is_synced_is_told(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InputError, match=r"no space left.*the same command continues .*--resume"):
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []


def test_errors_about_other_files_and_mistakes_keep_their_type(tmp_path):
    for error in (FileNotFoundError(errno.ENOENT, "No such file", "/other"), ValueError("wrong")):
        with pytest.raises(type(error)), atomic_write(tmp_path / "a.json"):
            raise error


def test_leftovers_of_killed_writers_go_and_other_files_stay(tmp_path):
    ours = [".a.0123abcd.json", ".a.ffffffff.json"]
    others = [".a.0123abcd.csv", ".b.0123abcd.json", ".a.json", ".a.0123abcg.json", "a.json"]
    for name in (*ours, *others):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path / "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("name", ["a.json", "猫" * 40 + ".json", "x" * 200 + ".y"])
def test_what_a_writer_leaves_is_found_by_the_files_own_name_alone(tmp_path, name):
    target, other = tmp_path / name, tmp_path / name.replace(".", "2.")
    with atomic_write(target), atomic_write(other):
        left = {path.name for path in tmp_path.iterdir()}
        assert len(left) == 2
        remove_leftovers(target)
        (kept,) = (path.name for path in tmp_path.iterdir())
        (tmp_path / (left - {kept}).pop()).touch()
    assert target.exists() and other.exists()
