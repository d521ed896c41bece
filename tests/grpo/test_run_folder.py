"""A run's folder has one owner, who finds it as a killed process left it, or says what is wrong."""

import copy
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_policies
import tiny_runs
import torch
from click.testing import CliRunner

from grpo import checkpoint
from grpo.cli import main
from grpo.run import Run
from grpo.train import train
from rewardkit.errors import InputError, UsageError

ROOT = Path(__file__).parents[2]
CHILD = """
import sys, time
from pathlib import Path
from grpo.config.fields import Config
from grpo.run import Run
from rewardkit.errors import InputError
try:
    run = Run.open(Path("run"), Config.model_validate_json(Path("asked.json").read_text()), True)
    if sys.argv[1] == "begin":
        run.begin(run.read_config(), {})
except InputError as error:
    print(error)
    sys.exit(1)
print("taken", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture(scope="module")
def made(folders, tmp_path_factory):
    """A run with all that has a state, of one step."""
    asked = tiny_runs.config(
        folders["sd3"],
        top={"steps": 1},
        objective=tiny_runs.FORWARD,
        policy={"ema": 0.9, "rank": 2},
    )
    return asked, train(asked, out=tmp_path_factory.mktemp("made"), device="cpu")


# One process.


def child(folder, what):
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, what],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_do_not_train_in_one_folder(folders, tmp_path):
    asked = tiny_runs.config(folders["sd"])
    (tmp_path / "asked.json").write_text(asked.model_dump_json())
    with Run.open(tmp_path / "run", asked, False) as run:
        run.begin(asked, {})
        second = child(tmp_path, "open")
        assert "run is being trained by another process" in second.communicate()[0]
        assert second.returncode == 1
    owner = child(tmp_path, "begin")
    assert owner.stdout.readline() == "taken\n"
    left = tmp_path / "run/checkpoints/.step-000001.0123abcd.pt"
    left.parent.mkdir()
    for path in (left, tmp_path / "run/.metrics.0123abcd.jsonl"):
        path.touch()
    with pytest.raises(InputError, match="is being trained by another process"):
        Run.open(tmp_path / "run", asked, True)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    kept = tmp_path / "run/.mine.0123abcd.json"
    kept.touch()
    with Run.open(tmp_path / "run", asked, True) as run:
        run.begin(asked, {})
        assert not left.exists() and not (tmp_path / "run/.metrics.0123abcd.jsonl").exists()
        assert kept.exists(), "what is not the run's stays"


def test_the_command_refuses_a_run_that_is_going(made):
    asked, run = made
    with Run.open(run.folder, asked, True):
        refused = CliRunner().invoke(main, ["train", "-o", str(run.folder), "--resume"])
    assert refused.exit_code == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"Error: {run.folder} is being trained by another process.")


def test_of_two_that_begin_at_once_one_is_refused(folders, tmp_path):
    """Both find the folder empty, and load for minutes."""
    asked = tiny_runs.config(folders["sd"])
    first, second, third = (Run.open(tmp_path / "run", asked, True) for _ in range(3))
    with first:
        first.begin(asked, {})
        with pytest.raises(InputError, match="is being trained by another process"):
            second.begin(asked, {})
    with third, pytest.raises(InputError, match="another process began meanwhile"):
        third.begin(asked, {})


def test_a_run_that_was_refused_is_free_again(made):
    asked, run = made
    with pytest.raises(UsageError):
        Run.open(run.folder, asked.model_copy(update={"seed": 5}), True)
    Run.open(run.folder, asked, True).close()


# Files that are not as a run writes them.


@pytest.mark.parametrize(
    "text",
    [b"{", b"[]", b"5", b"\xff{}", b"[" * 100_000, b'{"steps": "many"}'],
    ids=["cut", "list", "number", "not UTF-8", "deep", "types"],
)
def test_a_damaged_configuration_is_named_in_a_line(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text)
    refused = CliRunner().invoke(main, ["train", "-o", str(tmp_path), "--resume"])
    assert refused.exit_code == 1
    assert f"Error: {tmp_path}/config.json" in refused.stderr
    assert "Invalid JSON" not in refused.stderr and "pydantic" not in refused.stderr


def test_a_configuration_that_is_a_folder_is_named(tmp_path):
    (tmp_path / "config.json").mkdir()
    refused = CliRunner().invoke(main, ["train", "-o", str(tmp_path), "--resume"])
    assert refused.exit_code == 1 and "config.json is damaged" in refused.stderr


def test_lines_that_no_log_wrote_are_left_out(tmp_path):
    lines = [b'{"step": 1}', b"\xff\xfe", b"[1]", b"5", b'"step"', b"{}", b'{"step": "1"}',
             b"[" * 100_000, b'{"step": 2, "x": 1.0}', b'{"step": 3}', b'{"step": 2']  # fmt: skip
    with Run(tmp_path) as run:
        run.metrics.write_bytes(b"\n".join(lines))
        run.log.begin(2)
        run.log.append({"step": 3})
    read = [json.loads(line) for line in run.metrics.read_text("utf-8").splitlines()]
    assert read == [{"step": 1}, {"step": 2, "x": 1.0}, {"step": 3}]


@pytest.mark.parametrize(("name", "make"), [("tensorboard", "touch"), ("metrics.jsonl", "mkdir")])
def test_what_is_in_the_way_of_the_log_is_named(tmp_path, name, make):
    getattr(tmp_path / name, make)()
    with Run(tmp_path) as run, pytest.raises(InputError, match=rf"{name}.*--resume"):
        run.log.begin(2)


# Checkpoints.


# What is done to a tensor in a table of them.
CHANGES = {
    "removed": lambda table, key: table.pop(key),
    "added": lambda table, key: table.update({"more": table[key]}),
    "renamed": lambda table, key: table.update({"other": table.pop(key)}),
    "NaN": lambda table, key: table.update({key: table[key] * float("nan")}),
    "reshaped": lambda table, key: table.update({key: torch.zeros([1] * table[key].ndim)}),
    "of another type": lambda table, key: table.update({key: table[key].double()}),
    "no tensor": lambda table, key: table.update({key: 3}),
    "sparse": lambda table, key: table.update({key: table[key].to_sparse()}),
    "without values": lambda table, key: table.update({key: table[key].to("meta")}),
}
PLACES = {
    "parameters": lambda state: state["parameters"],
    "average": lambda state: state["average"],
    "the old policy": lambda state: state["objective"]["old"],
    "the optimizer": lambda state: state["optimizer"]["state"][0],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_fits_the_run_in_every_tensor(made, place, change):
    _, run = made
    path = checkpoint.paths(run.checkpoints)[-1]
    state = checkpoint.load(path)
    like = copy.deepcopy(state)
    checkpoint.check(path, state, like)
    table = PLACES[place](state)
    key = next(k for k in table if table[k].ndim) if place != "the optimizer" else "exp_avg"
    CHANGES[change](table, key)
    with pytest.raises(InputError) as refused:
        checkpoint.check(path, state, like)
    told = str(refused.value)
    assert told.startswith(f"checkpoint {path} does not fit this run: ")
    assert told.endswith("Remove it: --resume continues from the previous one")


def whole(change):
    def changed(state):
        change(state)
        return state

    return changed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (whole(lambda state: state.pop("average")), "average is missing"),
        (whole(lambda state: state.update(average=None)), "average is not a dictionary"),
        (whole(lambda state: state.update(more=1)), "more is not of this run"),
        (whole(lambda state: state["objective"].update(updates="2")), "objective/updates is '2'"),
        (whole(lambda state: state["objective"].update(updates=True)), "is True, of the type bool"),
        (whole(lambda state: state["optimizer"].update(param_groups=[])), "not a list of 1"),
        (whole(lambda state: state["optimizer"]["state"].pop(0)), "optimizer/state/0 is missing"),
        (
            whole(lambda state: state["optimizer"]["state"][0].update(step=torch.tensor(-1.0))),
            "optimizer/state/0/step is -1",
        ),
        (whole(lambda state: state.update(optimizer=[])), "optimizer is not a dictionary"),
        (whole(lambda state: state.update(step="x")), "its step is 'x'"),
        (whole(lambda state: state.update(step=True)), "its step is True"),
        (whole(lambda state: state.update(step=10**9)), "its step is 1000000000"),
        (whole(lambda state: state.pop("step")), "its step is None"),
        (lambda state: [state], "its step is None"),
        (lambda state: {**state, "step": Path("x")}, "cannot be read"),
    ],
)
def test_a_state_that_is_not_of_this_run_is_refused_in_a_line(made, tmp_path, change, told):
    _, run = made
    newest = checkpoint.paths(run.checkpoints)[-1]
    state, like = checkpoint.load(newest), checkpoint.load(newest)
    torch.save(change(state), tmp_path / newest.name)
    with pytest.raises(InputError) as refused:
        checkpoint.check(newest, checkpoint.load(tmp_path / newest.name), like)
    assert told in str(refused.value) and "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value) and "arbitrary" not in str(refused.value)


def test_an_empty_checkpoint_says_so(tmp_path):
    (tmp_path / "step-000001.pt").touch()
    with pytest.raises(InputError, match=r"cannot be read: the file is empty\. Remove it"):
        checkpoint.load(tmp_path / "step-000001.pt")


def test_a_run_does_not_go_on_from_a_checkpoint_that_does_not_fit(made, monkeypatch):
    asked, run = made
    path = checkpoint.paths(run.checkpoints)[-1]
    before = path.read_bytes()
    state = checkpoint.load(path)
    name = next(iter(state["parameters"]))
    state["parameters"][name] = torch.zeros(1, 1)  # it would be copied into every place
    torch.save(state, path)
    try:
        with pytest.raises(InputError, match=r"float32 \[1, 1\], and float32 \[.* is needed"):
            train(asked, out=run.folder, resume=True, device="cpu")
    finally:
        path.write_bytes(before)
    train(asked, out=run.folder, resume=True, device="cpu")
