"""A command that another distribution adds may be broken: it says why, and the others work."""

import subprocess
import sys
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from rewardkit.cli import main


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
    assert done.stderr.startswith(
        "Error: the command bench (benchmarks.cli:bench) of visual-rewardkit cannot be loaded"
    )
    assert f"found at {tmp_path / 'benchmarks.py'}" in done.stderr
    assert "run from another folder" in done.stderr


def test_the_other_commands_work_beside_it(in_the_way):
    done = in_the_way("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "bench" in done.stdout and "Cannot be loaded: call it to see why." in done.stdout
    assert in_the_way("show", "sharpness").returncode == 0


class Entry(NamedTuple):
    """An entry point of another distribution, whose module runs `code`."""

    name: str
    value: str
    code: str = ""


BROKEN = {
    "exits": Entry("exits", "broken_exits:command", "import sys; sys.exit(0)"),
    "raises": Entry("raises", "broken_raises:command", "raise RuntimeError('no luck')"),
    "stops": Entry("stops", "broken_stops:command", "class E(BaseException): pass\nraise E('x')"),
    "syntax": Entry("syntax", "broken_syntax:command", "def"),
    "absent": Entry("absent", "broken_absent_module:command"),
    "malformed": Entry("malformed", "no entry point at all"),
    "other": Entry("other", "json:dumps"),
}


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """All of them installed."""
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    lines = [f"{entry.name} = {entry.value}" for entry in BROKEN.values()]
    (info / "entry_points.txt").write_text("\n".join(["[rewardkit.commands]", *lines, ""]))
    for entry in BROKEN.values():
        if entry.code:
            (tmp_path / f"{entry.value.partition(':')[0]}.py").write_text(entry.code)
    monkeypatch.syspath_prepend(tmp_path)
    return info


@pytest.mark.parametrize("name", BROKEN)
def test_a_command_that_cannot_be_loaded_says_why_and_breaks_no_other(broken, name):
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0 and name in shown.stdout and "score" in shown.stdout
    called = CliRunner().invoke(main, [name, "--some", "option"])
    assert called.exit_code == 1, called.stderr
    assert called.stderr.startswith("Error: ") and called.stderr.count("\n") == 1
    assert CliRunner().invoke(main, ["show", "sharpness"]).exit_code == 0


def test_a_list_of_entry_points_that_cannot_be_read_hides_no_other(broken):
    (broken / "entry_points.txt").write_text("[rewardkit.commands]\nno equals sign\n")
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0 and "bench" in shown.stdout


def test_the_package_runs_as_its_command():
    done = subprocess.run(
        [sys.executable, "-m", "rewardkit", "--version"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("list", "--colour", "red"), ("scroe",), ("score", "x", "--prompt", "a", "--prompt", "b")],
)
def test_wrong_usage_is_printed_by_the_first_process_alone(arguments, monkeypatch):
    monkeypatch.setattr("rewardkit.cli.group._set_up_output", lambda rank: None)
    address = {"WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "h", "MASTER_PORT": "1"}
    done = [
        CliRunner().invoke(main, arguments, env=address | {"RANK": str(rank)}) for rank in range(2)
    ]
    assert [each.exit_code for each in done] == [2, 2]
    assert "Error: " in done[0].stderr and done[1].output == ""
