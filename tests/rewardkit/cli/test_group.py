"""A command that another distribution adds may be broken: it says why, and the others work."""

import subprocess
import sys

import pytest


@pytest.fixture
def in_the_way(tmp_path):
    """A folder with a module `benchmarks` that is not ours."""
    (tmp_path / "benchmarks.py").write_text("results = 1\n")

    def call(*args):
        command = [sys.executable, "-m", "rewardkit.cli", *args]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return call


@pytest.mark.parametrize(
    "args", [("bench", "--help"), ("bench",), ("bench", "run", "--steps", "3")]
)
def test_another_module_of_that_name_in_the_way_is_told(args, in_the_way, tmp_path):
    done = in_the_way(*args)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("Error: the command bench of visual-rewardkit cannot be loaded")
    assert f"found at {tmp_path / 'benchmarks.py'}" in done.stderr
    assert "run from another folder" in done.stderr


def test_the_other_commands_work_beside_it(in_the_way):
    done = in_the_way("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "bench" in done.stdout and "Cannot be loaded: call it to see why." in done.stdout
    assert in_the_way("show", "sharpness").returncode == 0
