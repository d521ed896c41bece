"""What is remembered of weights: shared by processes, and no need on a disk that is read only."""

import errno
import json
import os
import subprocess
import sys

import pytest

from rewardkit.errors import WeightsError
from rewardkit.weights import hub, memory
from rewardkit.weights.pins import PinnedFile

OURS = PinnedFile(name="mine.v1", repo="us/mine", files=("a.safetensors",), licence="MIT")
ENTRY = {"repo": "us/mine", "file": "a", "revision": "1" * 40, "sha256": "0" * 64}

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def place(home):
    folder = home / "hf" / "rewardkit"
    folder.mkdir(parents=True)
    return folder


def no_space(path, value):
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize(
    "content", [b"{", b"", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"x": 5}'], ids=repr
)
def test_a_damaged_memory_of_checksums_starts_anew(place, tmp_path, content):
    (place / "checksums.json").write_bytes(content)
    file = tmp_path / "weights.pt"
    file.write_bytes(b"own")
    first = memory.checksum(file)
    assert list(json.loads((place / "checksums.json").read_text()).values()) == [first]


@pytest.mark.parametrize(
    "content",
    [b"{", b"", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"x": 5}', b'{"x": {"repo": "us/x"}}'],
    ids=repr,
)
def test_a_damaged_pin_is_refused_by_name(place, content):
    (place / "weights.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.json, which pins .* is damaged: .*delete it"):
        hub.locate(OURS, {})


def test_a_disk_that_cannot_be_written_costs_time_and_the_pin_alone(
    server, tmp_path, monkeypatch, caplog
):
    server("us/mine", "1" * 40, a__safetensors=b"first")
    monkeypatch.setattr(memory, "write_json", no_space)
    first = hub.locate(OURS, {})
    assert "cannot be written: the commit and checksum of mine.v1 are not recorded" in caplog.text
    assert hub.locate(OURS, {}) == first


def test_a_place_that_cannot_be_made_is_no_hindrance(home, tmp_path):
    (home / "hf").mkdir(exist_ok=True)
    (home / "hf" / "rewardkit").write_text("a file stands where the folder should be")
    file = tmp_path / "weights.pt"
    file.write_bytes(b"own")
    assert hub.locate(OURS, {"mine.v1": file}).sha256 == memory.checksum(file)
    assert hub.recorded(OURS) is None


def test_two_processes_lose_nothing_of_each_other(tmp_path):
    script = """
import sys
from pathlib import Path
from rewardkit.weights.memory import checksum, record
for i in range(25):
    name = f"{sys.argv[1]}-{i}"
    record(name, {"repo": "us/x", "file": "a", "revision": "1" * 40, "sha256": "0" * 64})
    file = Path(sys.argv[2], name)
    file.write_text(name)
    checksum(file)
"""
    env = {**os.environ, "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-c", script]
    both = [subprocess.Popen([*command, who, str(tmp_path)], env=env) for who in "ab"]
    assert [one.wait(60) for one in both] == [0, 0]
    place = tmp_path / "hf" / "rewardkit"
    assert len(json.loads((place / "weights.json").read_text())) == 50
    assert len(json.loads((place / "checksums.json").read_text())) == 50


def test_a_pin_that_another_process_made_meanwhile_is_not_overwritten(place):
    memory.record("mine.v1", ENTRY)
    memory.record("mine.v1", ENTRY)
    with pytest.raises(WeightsError, match=r"recorded another mine\.v1"):
        memory.record("mine.v1", {**ENTRY, "sha256": "1" * 64})
    assert memory.records() == {"mine.v1": ENTRY}
