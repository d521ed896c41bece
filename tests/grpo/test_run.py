"""A run can be killed at any moment and goes on as if it had not been; failures leave it intact."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tiny_policies
import tiny_runs
import torch
from click.testing import CliRunner
from limits import files_up_to

import grpo.distributed
import grpo.train
from grpo import checkpoint
from grpo.cli import main
from grpo.display import Display
from grpo.distributed import World
from grpo.run import Run
from grpo.sample import sample, tuned
from grpo.train import train
from grpo.trainer import Trainer
from rewardkit.cli.streams import reporting_disk_errors_of_threads
from rewardkit.errors import InputError, RewardKitError, UsageError, WeightsError
from rewardkit.generators.pipelines import load
from rewardkit.records.storage import write_json

ROOT = Path(__file__).parents[2]
VARIANTS = [(parameters, kind) for parameters in ("lora", "full") for kind in tiny_runs.OF_LOOP]
OTHERS = [("lora", kind) for kind in ("group-preference", "distillation")]


class Killed(BaseException):
    """Ends a process's work where it is raised, as SIGKILL would."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def config(folders, parameters="lora", kind="policy-gradient", **changes):
    """A run with all that has a state: averaged weights, a penalty, warm-up, evaluations."""
    tried = tiny_runs.KINDS[kind]
    prompts = folders[tried.folder].parent / "prompts.txt"
    return tiny_runs.config(
        folders[tried.folder],
        objective=tried.settings | tried.more,
        policy={"parameters": parameters, "ema": 0.9, "rank": 2, "alpha": 4},
        optim={"lr": 1e-3, "warmup": 1, "decay": "cosine"},
        **{
            "evaluation": {"prompts": str(prompts), "samples": 2, "every": 2, "steps": 1},
            "checkpoint": {"every": 2},
            **changes,
        },
    )


@pytest.fixture(
    scope="module",
    params=[*VARIANTS, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)],
    ids="-".join,
)
def whole(request, folders, tmp_path_factory):
    """A configuration, and its run that nothing disturbed."""
    asked = config(folders, *request.param)
    return asked, train(asked, out=tmp_path_factory.mktemp("whole"), device="cpu")


def killed(monkeypatch, owner, name, when=lambda *given, **named: True):
    """From now on, calling it kills, once `when` holds of what it is called with."""
    real = getattr(owner, name)

    def call(*given, **named):
        if when(*given, **named):
            raise Killed
        return real(*given, **named)

    monkeypatch.setattr(owner, name, call)


# Where it is killed, and how many steps were saved then (checkpoints come after steps 2 and 3).
POINTS = {
    "before the first checkpoint": ((checkpoint, "save"), 0),
    "in the third step": ((Trainer, "update", lambda _, i, *rest: i == 2), 2),
    "between checkpoint and export": ((grpo.train, "export"), 3),
}


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_run_goes_on_as_if_it_had_not_been(whole, point, tmp_path, monkeypatch):
    asked, undisturbed = whole
    run, (where, saved) = Run(tmp_path), POINTS[point]
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed(patch, *where)
        train(asked, out=tmp_path, device="cpu")
    assert [path.name for path in checkpoint.paths(run.checkpoints)] == (
        [f"step-{number:06d}.pt" for number in (2, 3) if number <= saved]
    )
    with run.metrics.open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "reward/sharp')  # it was writing this line
    train(asked, out=tmp_path, resume=True, device="cpu")
    assert tiny_runs.lines(run) == tiny_runs.lines(undisturbed)
    assert tiny_runs.same(tiny_runs.outcome(run), tiny_runs.outcome(undisturbed))


def test_a_folder_that_a_killed_process_left_before_it_began_is_as_good_as_none(folders, tmp_path):
    (tmp_path / ".config.0123abcd.json").write_text("{", "utf-8")
    run = train(config(folders, top={"steps": 1, "optim": {"lr": 1e-3}}, evaluation={}),
                out=tmp_path, resume=True, device="cpu")  # fmt: skip
    assert [line["step"] for line in tiny_runs.lines(run)] == [1]


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_sigkill_while_the_model_takes_its_place(folders, tmp_path, parameters):
    """Neither the folder of before nor a half one is taken for what was trained."""
    asked = short(folders, policy={"parameters": parameters})
    run = train(asked, out=tmp_path, device="cpu")
    whole = tiny_runs.outcome(run)
    code = """
import os, signal, sys
from pathlib import Path
from grpo.cli import main
Path.rename = lambda path, target, real=Path.rename: (
    real(path, target), os.kill(os.getpid(), signal.SIGKILL) if path.name == "model" else None)
main(sys.argv[1:])
"""
    command = [sys.executable, "-c", code, "train", "-o", tmp_path, "--resume", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(WeightsError, match="has not been exported completely"):
        load(folders["sd"], device="cpu", tuned=tmp_path)
    train(asked, out=tmp_path, resume=True, device="cpu")
    assert tiny_runs.same(tiny_runs.outcome(run), whole)
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == {".lock"}


def short(folders, **changes):
    """One step and no more than that."""
    return tiny_runs.config(folders["sd"], **{"top": {"steps": 1}, **changes})


@pytest.mark.parametrize("made", [True, False])
def test_resuming_where_nothing_is_starts_afresh(folders, tmp_path, made):
    out = tmp_path / "run"
    if made:
        out.mkdir()
    run = train(short(folders), out=out, resume=True, device="cpu")
    assert [line["step"] for line in tiny_runs.lines(run)] == [1]
    assert run.latest()["step"] == 1


def test_a_run_is_neither_overwritten_nor_continued_as_another(folders, tmp_path):
    train(short(folders), out=tmp_path, device="cpu")
    before = tiny_runs.outcome(Run(tmp_path))
    with pytest.raises(UsageError, match="holds a run already: resume it with --resume"):
        train(short(folders), out=tmp_path, device="cpu")
    with pytest.raises(UsageError, match=r"whose optim\.lr is 0\.001, not 0\.002"):
        train(short(folders, optim={"lr": 2e-3}), out=tmp_path, resume=True, device="cpu")
    assert tiny_runs.same(tiny_runs.outcome(Run(tmp_path)), before)


def test_a_run_can_be_made_longer(folders, tmp_path):
    longer = tiny_runs.config(folders["sd"])
    train(short(folders), out=tmp_path / "a", device="cpu")
    with pytest.raises(UsageError, match=r"has made 1 steps already, and steps is") as refused:
        checkpointed = Run(tmp_path / "a")
        checkpointed.restorable(checkpointed.latest(), 0)
    assert "--steps at least as many" in str(refused.value)
    run = train(longer, out=tmp_path / "a", resume=True, device="cpu")
    straight = train(longer, out=tmp_path / "b", device="cpu")
    assert tiny_runs.lines(run) == tiny_runs.lines(straight)
    assert tiny_runs.same(tiny_runs.outcome(run), tiny_runs.outcome(straight))


@pytest.mark.parametrize(
    ("parameters", "start"), [("full", "--model {0}"), ("lora", "--model {1} --lora {0}")]
)
def test_a_run_whose_rates_depend_on_its_length_says_how_to_train_on(
    folders, tmp_path, parameters, start
):
    asked = short(folders, policy={"parameters": parameters}, optim={"decay": "cosine"})
    train(asked, out=tmp_path, device="cpu")
    command = ["train", "-o", str(tmp_path), "--resume", "--steps", "3", "--device", "cpu"]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    assert "whose steps is 1, not 3, and with optim.decay cosine" in refused.stderr
    options = start.format(tmp_path / "model", folders["sd"])
    assert f"in a new run: grpo train {options} --out ANOTHER" in refused.stderr
    (tmp_path / "model").rename(tmp_path / "elsewhere")  # as in a run that is not finished
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2 and "Resume it with --resume alone" in refused.stderr


def test_a_line_of_a_file_is_one_step(folders, tmp_path, monkeypatch, capsys):
    """However narrow a terminal would be, and whatever a reward is called."""
    monkeypatch.setenv("COLUMNS", "20")
    config = short(folders)
    with Display(config, Run(tmp_path), 1) as display:
        display.stepped(1, {"reward/[red]mine.py:f": 0.5, "seconds/rollout": 1.0})
        display.evaluated({"step": 1, "eval/sharpness": 1.0, "eval_error/sharpness": 0.1})
        display.finished(1)
    assert capsys.readouterr().err.splitlines() == [
        "resuming from step 1 of 1",
        "step 1/1  [red]mine.py:f 0.5  rollout 1.0s",
        "held out, step 1: sharpness 1 ± 0.1",
        f"done: {tmp_path}/model",
    ]


# Checkpoints.


STATE = {"weights": torch.arange(3.0)}


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("short")])
def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch, error):
    checkpoint.save(tmp_path, 1, STATE, keep=1)

    def fail(state, path):
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(InputError, match=r"step-000002\.pt cannot be written.*--resume"):
        checkpoint.save(tmp_path, 2, STATE, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001.pt"]
    (path,) = checkpoint.paths(tmp_path)
    assert torch.equal(checkpoint.load(path)["weights"], STATE["weights"])


def test_a_checkpoint_where_no_folder_can_be(tmp_path):
    (tmp_path / "checkpoints").write_text("a file", "utf-8")
    with pytest.raises(InputError, match="cannot write"):
        checkpoint.save(tmp_path / "checkpoints", 1, STATE, keep=1)


def test_the_newest_checkpoints_stay(tmp_path):
    for step in (999_998, 999_999, 1_000_000):  # by name, the last would be the first
        checkpoint.save(tmp_path, step, STATE, keep=2)
    found = checkpoint.paths(tmp_path)
    assert [path.name for path in found] == ["step-999999.pt", "step-1000000.pt"]


def test_a_damaged_checkpoint_is_named(tmp_path):
    path = checkpoint.save(tmp_path, 1, STATE, keep=1)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"step-000001\.pt cannot be read.*Remove it"):
        checkpoint.load(path)


# What goes wrong on the way.


def test_events_that_cannot_be_written_are_told(tmp_path):
    run = Run(tmp_path)
    run.log.begin(0)
    with (
        reporting_disk_errors_of_threads(),  # the thread that writes them
        files_up_to(1000),  # events are longer than lines of metrics.jsonl
        pytest.raises(InputError, match=f"cannot write {run.log.tensorboard}: it is larger"),
    ):
        for step in range(100):
            run.log.append({"step": step, "a": 1.0})


def test_metrics_that_cannot_be_written_are_told(tmp_path):
    with Run(tmp_path) as run:
        run.log.begin(0)
        run.metrics.mkdir()
        with pytest.raises(InputError, match=r"cannot write .*metrics\.jsonl.*--resume"):
            run.log.append({"step": 1})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_after_the_step_and_save(folders, tmp_path, monkeypatch, number):
    """Asked to stop in the first step: it is finished, saved, and told how to go on."""
    asked, real = tiny_runs.config(folders["sd"]), Trainer.step
    write_json(Run(tmp_path / "asked").config_path, asked.model_dump(mode="json"))

    def step(self, index):
        if index == 0:
            signal.raise_signal(number)
        return real(self, index)

    def command(out):
        return CliRunner().invoke(main, ["train", "--out", str(out), "--resume", "--device", "cpu"])

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        before = signal.getsignal(number)
        stopped = command(tmp_path / "asked")
        assert signal.getsignal(number) is before
    run = Run(tmp_path / "asked")
    assert stopped.exit_code == 130
    told = f"Stopped: saved after step 1 of 3. Resume with: grpo train --out {run.folder} --resume"
    assert stopped.stderr.splitlines()[-1] == told
    assert stopped.stderr.count("Resume with") == stopped.stderr.count("Stopped") == 1
    assert run.latest()["step"] == 1
    went_on = command(run.folder)
    assert went_on.exit_code == 0
    assert "resuming from step 1 of 3\n" in went_on.stderr
    straight = train(asked, out=tmp_path / "straight", device="cpu")
    assert tiny_runs.lines(run) == tiny_runs.lines(straight)
    assert tiny_runs.same(tiny_runs.outcome(run), tiny_runs.outcome(straight))


def test_a_run_in_another_thread_stops_where_it_is_asked_to(folders, tmp_path):
    """No signal can be listened to there; `should_stop` is asked before each step."""
    asked, errors = tiny_runs.config(folders["sd"]), []

    def work():
        answers = iter([False, True])
        try:
            train(asked, out=tmp_path, device="cpu", should_stop=lambda: next(answers))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [grpo.train.Stopped]
    assert Run(tmp_path).latest()["step"] == 1


def test_a_run_that_is_stopped_before_its_first_step_saves_nothing_and_says_so(
    folders, tmp_path, capsys
):
    with pytest.raises(grpo.train.Stopped):
        train(short(folders), out=tmp_path, device="cpu", should_stop=lambda: True)
    run = Run(tmp_path)
    assert run.latest() is None and not run.model.exists()
    assert "Stopped: no step is saved. Start again with" in capsys.readouterr().err


def test_a_second_ctrl_c_ends_at_once():
    with pytest.raises(KeyboardInterrupt), grpo.train._stop_signals(World()) as stopping:
        assert not stopping()
        signal.raise_signal(signal.SIGINT)
        assert stopping()
        signal.raise_signal(signal.SIGINT)


REWARDS = {"raises": "raise OSError('the judge is gone')", "nan": "scores[0] = float('nan')"}


@pytest.mark.parametrize(
    ("how", "told"), [("raises", "OSError: the judge is gone"), ("nan", "nan")]
)
def test_a_reward_that_fails_ends_the_run_which_goes_on_once_it_is_mended(
    folders, tmp_path, how, told
):
    judge, broken = tmp_path / "judge.py", tmp_path / "broken"
    judge.write_text(f"""
from pathlib import Path
calls = []
def score(batch):
    scores = [float(picture[0].float().mean()) for picture in batch.media]
    calls.append(0)
    if Path({str(broken)!r}).exists() and len(calls) > 2:
        {REWARDS[how]}
    return scores
""")
    asked = tiny_runs.config(
        folders["sd"], top={"reward": f"{judge}:score"}, checkpoint={"every": 1}
    )
    run = Run(tmp_path / "run")
    write_json(run.config_path, asked.model_dump(mode="json"))
    command = ["train", "--out", str(run.folder), "--resume", "--device", "cpu", "--trust-code"]
    broken.touch()
    failed = CliRunner().invoke(main, command)
    assert failed.exit_code == 1
    (line,) = (line for line in failed.stderr.splitlines() if line.startswith("Error: "))
    assert told in line and f"{judge}:score" in line
    assert any(prompt in line for prompt in tiny_runs.PROMPTS)
    assert run.latest()["step"] == 2

    broken.unlink()
    assert CliRunner().invoke(main, command).exit_code == 0
    straight = train(asked, out=tmp_path / "straight", device="cpu")
    assert tiny_runs.same(tiny_runs.outcome(run), tiny_runs.outcome(straight))


def test_a_gradient_that_is_not_finite_ends_the_run(folders, tmp_path, monkeypatch):
    real = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda *given: real(*given) * float("nan")
    )
    with pytest.raises(RewardKitError, match=r"norm is nan: training has diverged.*optim\.lr"):
        train(short(folders), out=tmp_path, device="cpu")
    assert Run(tmp_path).latest() is None


@pytest.mark.parametrize(
    ("top", "told"),
    [
        ({"model": "shapes-flwo"}, "Did you mean 'shapes-flow'"),
        ({"reward": "sharpnes"}, "Did you mean 'sharpness'"),
        ({"prompts": "empty.txt"}, "empty.txt"),
        ({"prompts": "binary.txt"}, "a PNG picture"),
    ],
)
def test_what_cannot_be_started_leaves_no_folder(folders, tmp_path, monkeypatch, top, told):
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").touch()
    Path("binary.txt").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    with pytest.raises(RewardKitError, match=told):
        train(short(folders, top={"steps": 1, **top}), out=Path("run"), device="cpu")
    assert not Path("run").exists()


def test_a_rule_of_another_family_is_refused_and_leaves_no_folder(folders, tmp_path):
    asked = short(folders, sampler={"rule": "flow"})
    with pytest.raises(UsageError, match=r"sampler\.rule 'flow' given"):
        train(asked, out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_from_another_folder(folders, tmp_path, monkeypatch):
    """What it was started with is named relative to where that was."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    (here / "judge.py").write_text("def score(batch):\n    return [float(m[0].float().mean()) for m"
                                   " in batch.media]\n")  # fmt: skip
    (here / "p.txt").write_text("a red ring\ntwo boxes")
    (here / "base").symlink_to(folders["sd"])
    asked = tiny_runs.config(
        folders["sd"],
        top={"model": "base", "reward": "0.5*./judge.py:score", "prompts": "p.txt", "steps": 2},
        evaluation={"prompts": "p.txt", "rewards": "judge.py:score", "samples": 2, "steps": 1},
    )
    monkeypatch.chdir(here)
    with pytest.raises(grpo.train.Stopped):
        answers = iter([False, True])
        train(asked, out=Path("run"), device="cpu", should_stop=lambda: next(answers))
    monkeypatch.chdir(there)
    command = ["train", "-o", str(here / "run"), "--resume", "--device", "cpu"]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2 and "its code is not run unless you say so" in refused.stderr
    # The reward again, by another path to the same file.
    again = CliRunner().invoke(main, [*command, "-r", "0.5*../here/judge.py:score"])
    assert again.exit_code == 2 and "evaluation.rewards" in again.stderr
    done = CliRunner().invoke(main, [*command, "--trust-code"])
    assert done.exit_code == 0, done.output
    run = Run(here / "run")
    assert [line["step"] for line in tiny_runs.lines(run) if "loss" in line] == [1, 2]
    # The model it was made of is the same by any of its paths.
    assert load("../here/base", device="cpu", tuned=run.folder).trained_on is not None


# What a run leaves.


@pytest.mark.parametrize("parameters", ["lora", "full"])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_what_was_trained_is_what_is_sampled(folders, tmp_path, parameters, dtype):
    asked = short(
        folders,
        policy={"parameters": parameters, "dtype": dtype},
        optim={"lr": 0.1},
        evaluation={"prompts": str(folders["sd"].parent / "prompts.txt"), "samples": 2, "steps": 2},
    )
    run = train(asked, out=tmp_path / "run", device="cpu")
    network = tuned(run, "cpu").diffusers.unet
    # Sampled in the dtype it was trained in: what was trained is rounded to it.
    number = getattr(torch, dtype)
    trained = {name: value.to(number) for name, value in run.latest()["parameters"].items()}
    weights = dict(network.named_parameters())
    found = {name.replace(".default.", ".default_0."): value for name, value in trained.items()}
    assert found.keys() <= weights.keys()
    assert all(torch.equal(weights[name], value) for name, value in found.items())
    base = dict(load(folders["sd"], device="cpu", dtype=dtype).diffusers.unet.named_parameters())
    assert any(not torch.equal(base.get(name, torch.zeros(())), v) for name, v in found.items())

    sheet = sample(
        run.folder, prompts=asked.prompts, out=tmp_path / "s.png", number=1, device="cpu"
    )
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in run.samples.iterdir()} == {"step-000000.png", "step-000001.png"}
    card = json.loads((run.model / "rewardkit.json").read_text("utf-8"))
    assert card["trained_on"]["reward"] == "sharpness" and card["sampler"]["steps"] == 3
    assert card["arithmetic"] == {"float32_matmul_precision": "highest", "cudnn_allow_tf32": True}


def test_a_device_is_never_given_a_float32_copy(folders, tmp_path, monkeypatch):
    seen = {}

    def of(pipeline, config, device, world):
        seen.update({name: p.dtype for name, p in pipeline.diffusers.unet.named_parameters()})
        seen["device"] = pipeline.diffusers.device
        raise RewardKitError("far enough")

    monkeypatch.setattr(grpo.distributed, "pick_device", lambda name: torch.device("meta"))
    monkeypatch.setattr(grpo.train.policies, "of", of)
    with pytest.raises(RewardKitError, match="far enough"):
        train(short(folders, policy={"dtype": "bfloat16"}), out=tmp_path / "run")
    assert seen.pop("device") == torch.device("cpu")
    assert set(seen.values()) == {torch.bfloat16}


def test_the_precision_of_matrix_products_is_set_and_recorded(folders, tmp_path):
    own = torch.get_float32_matmul_precision()
    try:
        run = train(
            short(folders, policy={"float32_matmul": "high"}), out=tmp_path / "run", device="cpu"
        )
    finally:
        torch.set_float32_matmul_precision(own)
    card = json.loads(run.card.read_text("utf-8"))
    assert own == "highest" and card["arithmetic"]["float32_matmul_precision"] == "high"


def test_a_run_that_has_not_been_saved_is_not_sampled(folders, tmp_path):
    with Run(tmp_path) as run:
        run.begin(short(folders), {})
    with pytest.raises(UsageError, match="holds no trained weights yet"):
        sample(
            tmp_path, prompts="package:rewardkit.shapes/lists/train.jsonl", out=tmp_path / "s.png"
        )


# Real kills.


@pytest.mark.slow
@pytest.mark.parametrize(("parameters", "kind"), VARIANTS)
def test_sigkill_at_random_moments(folders, tmp_path, parameters, kind):
    asked = config(folders, parameters, kind, top={"steps": 6})
    undisturbed = train(asked, out=tmp_path / "whole", device="cpu")
    run = Run(tmp_path / "run")
    write_json(run.config_path, asked.model_dump(mode="json"))
    command = [sys.executable, "-m", "grpo", "train", "--out", run.folder, "--resume"]
    command += ["--device", "cpu"]
    dice = random.Random(f"{parameters}-{kind}")
    # As many threads as here: the order of a sum depends on it.
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    for _ in range(3):
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        size, lines = run.metrics.stat().st_size if run.metrics.exists() else 0, dice.randint(0, 3)
        # Once it writes, some lines later and a moment after that.
        while process.poll() is None and lines >= 0:
            time.sleep(0.01)
            now = run.metrics.stat().st_size if run.metrics.exists() else 0
            size, lines = now, lines - (now > size)
        time.sleep(dice.random() * 0.3)
        process.kill()
        process.communicate()
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)
    assert tiny_runs.lines(run) == tiny_runs.lines(undisturbed)
    assert tiny_runs.same(tiny_runs.outcome(run), tiny_runs.outcome(undisturbed))
