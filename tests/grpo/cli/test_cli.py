import inspect
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from grpo.cli import main
from grpo.config.fields import Config
from grpo.run import Run
from rewardkit.records.storage import write_json

ROOT = Path(__file__).parents[3]
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "peft", "pyarrow", "numpy"}


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(monkeypatch):
    """What `grpo.train.train` is called with; its signature is the real one's."""
    import grpo.train

    calls = []
    signature = inspect.signature(grpo.train.train)

    def record(*args, **kwargs):
        calls.append(signature.bind(*args, **kwargs).arguments)

    monkeypatch.setattr(grpo.train, "train", record)
    return calls


HELP = "import click.testing, grpo.cli as cli; click.testing.CliRunner().invoke(cli.main, {})"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "--help"], ["sample", "--help"], ["methods"], ["recipes", "shapes-sd"]],
)
def test_looking_loads_nothing_heavy(arguments):
    code = f"{HELP.format(arguments)}\nimport sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert "grpo.cli" in loaded
    assert not set(loaded) & HEAVY


def test_a_dry_run_loads_no_torch(tmp_path):
    prompts = tmp_path / "p.txt"
    prompts.write_text("a cat")
    arguments = ["train", "--model", "sd1.4", "-p", str(prompts), "--dry-run"]
    code = f"{HELP.format(arguments)}\nimport sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert "grpo.config.resolve" in loaded
    assert not set(loaded) & {"torch", "diffusers"}


def test_help_is_quick():
    def seconds():
        before = os.times()
        subprocess.run([sys.executable, "-m", "grpo", "--help"], check=True, stdout=-3, cwd=ROOT)
        after = os.times()
        user, system = after.children_user, after.children_system
        return user - before.children_user + system - before.children_system

    # Of processor time, which waiting for a busy machine does not add to; 0.3 s is promised.
    assert min(seconds() for _ in range(5)) <= 0.3


def test_a_dry_run_prints_the_run_as_a_recipe_and_what_it_amounts_to(here):
    shown = run("train", "--model", "shapes-flow", "--steps", 7, "--set", "optim.lr=2e-4",
                "--dry-run")  # fmt: skip
    assert shown.exit_code == 0
    table = tomllib.loads(shown.stdout)
    assert (table["steps"], table["optim"]["lr"]) == (7, 2e-4)
    assert "steps = 7" in shown.stdout and "# your setting:" in shown.stdout
    assert "# samples_per_step: 96" in shown.stdout
    assert "# out: runs/shapes-flow-nft-0" in shown.stdout
    assert "Note: using recipe shapes-flow" in shown.stderr
    assert list(here.iterdir()) == [], "nothing is written"


def test_a_dry_run_as_json(here):
    (here / "p.txt").write_text("a cat\na dog\n")
    shown = run("train", "--model", "sd1.4", "-p", "p.txt", "-r", "hps", "--seed", 3,
                "--dry-run", "--json")  # fmt: skip
    told = json.loads(shown.stdout)
    assert Config.model_validate_json(json.dumps(told["config"])).reward == "hps.v2.1"
    assert told["derived"]["prompts"] == 2
    assert told["derived"]["total_updates"] == 600
    assert told["origins"]["reward"] == "your setting"
    assert told["out"] == "runs/sd1.4-dance-grpo-3"
    assert "chosen for 0.7*hps.v2.1" in shown.stderr and shown.stderr.count("Note:") == 3
    assert "p.txt has 2 prompts and a training step uses 32, so prompts repeat" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Give --model or --recipe"),
        (["--model", "sd1.4"], "Give --prompts FILE"),
        (["--model", "shapes-flow", "--set", "optim.lrr=1"], "Did you mean 'optim.lr'?"),
        (["--model", "shapes-flow", "--set", "optim.lr"], "is written KEY=VALUE"),
        (["--model", "shapes-flow", "--set", "=1"], "is written KEY=VALUE"),
        (["--model", "shapes-flow", "--steps", "3", "--set", "steps=4"], "steps is given twice"),
        (["--model", "shapes-flow", "--set", "seed=3", "--set", "seed=4"], "given twice"),
        (["--model", "shapes-flow", "--steps", "many"], 'steps is "many" (your setting)'),
        (["--model", "shapes-flow", "--json"], "pass --dry-run too"),
        (["--model", "shapes-flow", "--dry-run", "--device", "abacus"], "device 'abacus' cannot"),
        (
            ["--model", "shapes-flow", "--dry-run", "--reward-device", "banana"],
            "device 'banana' cannot be used here: Expected one of cpu, cuda",
        ),
        (["--model", "shapes-flow", "-p", "package:no.such/p.txt"], "package:NAME/FILE"),
        (["--recipe", "shape-flow"], "Did you mean 'shapes-flow'"),
        (["--model", "shapes-flow", "--method", "nfft"], "unknown method 'nfft'"),
    ],
)
def test_wrong_usage_is_told_in_a_line(here, arguments, told):
    refused = run("train", *arguments)
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[-1].startswith("Error: ") or "Note:" in refused.stderr
    assert told in refused.stderr
    assert not refused.stdout


def test_a_wrong_file_of_prompts_is_told_before_anything_is_loaded(here, trained):
    (here / "p.txt").write_bytes(b"\x89PNG\r\n\x1a\n\xff")
    refused = run("train", "--model", "sd1.4", "-p", "p.txt")
    assert refused.exit_code == 1 and "a PNG picture" in refused.stderr
    refused = run("train", "--model", "shapes-flow", "--set", "evaluation.prompts=none.txt")
    assert refused.exit_code == 1 and "'none.txt' does not exist" in refused.stderr
    assert not trained


def test_an_unknown_command_gets_a_near_miss():
    refused = run("trian")
    assert refused.exit_code == 2
    assert "Did you mean 'train'?" in refused.stderr


def test_a_run_is_started_in_a_folder_of_its_own(here, trained):
    assert run("train", "--model", "shapes-flow", "--device", "cpu").exit_code == 0
    (call,) = trained
    assert call["config"].recipe == "shapes-flow"
    assert call["out"] == Path("runs/shapes-flow-nft-0")
    assert (call["resume"], call["device"]) == (False, "cpu")


def test_resuming_nothing_starts_afresh(here, trained):
    assert run("train", "--model", "shapes-flow", "--out", "new", "--resume").exit_code == 0
    assert (trained[0]["out"], trained[0]["resume"]) == (Path("new"), True)


def test_a_run_goes_on_by_its_folder_alone(here, trained):
    run("train", "--model", "shapes-flow", "--steps", 9, "--set", "optim.lr=2e-4")
    write_json(Run(Path("mine")).config_path, trained[0]["config"].model_dump(mode="json"))

    assert run("train", "--out", "mine", "--resume").exit_code == 0
    assert trained[1]["config"] == trained[0]["config"]
    # The first command again, and one that asks for more.
    assert run("train", "--model", "shapes-flow", "--out", "mine", "--resume").exit_code == 0
    assert trained[2]["config"] == trained[0]["config"]
    assert run("train", "--out", "mine", "--resume", "--steps", 12).exit_code == 0
    assert trained[3]["config"] == trained[0]["config"].model_copy(update={"steps": 12})


def test_a_run_goes_on_in_the_folder_of_its_name(here, trained):
    command = ["train", "--model", "shapes-flow", "--resume"]
    run(*command, "--steps", 9)
    folder = Run(Path("runs/shapes-flow-nft-0"))
    write_json(folder.config_path, trained[0]["config"].model_dump(mode="json"))
    assert run(*command).exit_code == 0
    assert (trained[1]["out"], trained[1]["config"]) == (folder.folder, trained[0]["config"])


def test_resuming_without_a_name_needs_one(here):
    refused = run("train", "--resume")
    assert refused.exit_code == 2 and "Give --model or --recipe" in refused.stderr


def test_the_interrupt_says_what_is_saved(here, monkeypatch):
    import grpo.train

    found = []

    def interrupted(config, **_):
        found.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(grpo.train, "train", interrupted)
    stopped = run("train", "--model", "shapes-flow", "--out", "mine")
    assert stopped.exit_code == 130
    assert "Stopped before the run started: nothing was written." in stopped.stderr
    folder = Run(Path("mine"))
    write_json(folder.config_path, found[0].model_dump(mode="json"))
    stopped = run("train", "--out", "mine", "--resume")
    assert stopped.exit_code == 130
    assert "no step is saved. Start again with: grpo train --out mine --resume" in stopped.stderr
    folder.checkpoints.mkdir()
    (folder.checkpoints / "step-000007.pt").touch()
    stopped = run("train", "--out", "mine", "--resume")
    assert "saved after step 7 of" in stopped.stderr and stopped.stderr.count("Stopped") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "--steps", "3", "--steps", "4"], "--steps is given 2 times"),
        (["train", "-o", "a", "--model", "shapes-sd", "--out", "b"], "--out is given 2 times"),
        (["sample", ".", "--seed", "3", "--seed", "3", "--seed", "4"], "--seed is given 3 times"),
    ],
)
def test_an_option_that_is_given_twice_is_refused(here, arguments, told):
    refused = run(*arguments)
    assert refused.exit_code == 2 and told in refused.stderr


def test_rewards_that_are_given_twice_add_up(here, trained):
    run("train", "--model", "shapes-flow", "-r", "0.5*shapes-graded", "--reward", "2*shapes-clip")
    assert trained[0]["config"].reward == "0.5*shapes-graded+2.0*shapes-clip"


def test_samples_are_drawn_from_a_run(here, monkeypatch):
    import grpo.sample

    drawn = []
    signature = inspect.signature(grpo.sample.sample)
    monkeypatch.setattr(
        grpo.sample, "sample", lambda **given: drawn.append(signature.bind(**given).arguments)
    )
    config = json.loads(
        run("train", "--model", "shapes-flow", "--dry-run", "--json").stdout
    )["config"]  # fmt: skip
    write_json(Run(Path("mine")).config_path, config)

    assert run("sample", "mine").exit_code == 0
    assert drawn[0]["run"] == Path("mine")
    assert drawn[0]["prompts"] == "package:rewardkit.shapes/lists/held-out.jsonl"
    assert (drawn[0]["number"], drawn[0]["seed"]) == (8, 0)
    assert drawn[0]["out"] == Path("mine/samples.png")
    assert run("sample", "mine", "-p", "p.txt", "-n", 3, "-o", "s.jpg", "--seed", 5).exit_code == 0
    assert (drawn[1]["prompts"], drawn[1]["number"]) == ("p.txt", 3)
    assert (drawn[1]["out"], drawn[1]["seed"]) == (Path("s.jpg"), 5)


def test_a_folder_without_a_run_has_no_samples(here):
    (here / "empty").mkdir()
    refused = run("sample", "empty")
    assert refused.exit_code == 2 and "holds no run" in refused.stderr


@pytest.mark.parametrize("command", ["methods", "recipes"])
def test_tables_are_readable_by_people_and_programs(command):
    listed = json.loads(run(command, "--json").stdout)
    table = run(command).stdout
    for one in listed:
        assert one["name"] in table and one["about"] in table
        assert one["settings"]


def test_a_method_is_printed_as_it_is_written():
    written = (ROOT / "grpo/methods/nft.toml").read_text("utf-8").partition("\n[page]\n")[0]
    assert run("methods", "nft").stdout.endswith("\n\n" + written)
    assert json.loads(run("methods", "nft", "--json").stdout)["settings"]["sampler.rule"] == "ode"


def test_a_recipe_is_printed_whole():
    shown = run("recipes", "sd1.4-dance").stdout
    table = tomllib.loads(shown)
    assert table["sampler"]["steps"] == 50 and table["optim"]["beta1"] == 0.9
    assert "# recipe sd1.4-dance:" in shown and "# method dance-grpo:" in shown
    assert "prompts" not in table and "# no value yet:" in shown
    told = json.loads(run("recipes", "sd1.4-dance", "--json").stdout)
    assert told["settings"]["sampler.steps"] == 50
    assert told["origins"]["optim.beta1"] == "default"
