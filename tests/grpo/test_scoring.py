"""The [scoring] section, and rewards that cannot score what a run will sample."""

import gc
import json
import re
import tomllib

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from grpo import ready
from grpo.cli import main
from grpo.config.fields import ScoringConfig
from grpo.config.resolve import resolve
from grpo.preview import Model
from grpo.rewards import Rewards
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, list_rewards, register
from rewardkit.engine.reward import GroupReward, MeasuredReward
from rewardkit.errors import RewardUnavailable, ScoringError, UsageError, WeightsError
from rewardkit.media.prompts import PromptLine


def asked(*prompts, **meta):
    return [PromptLine(f"line {i}", prompt, meta=meta) for i, prompt in enumerate(prompts)]


def levels(*values):
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def settings(**given):
    return resolve(
        settings={"model": "shapes-flow", **{k.replace("__", "."): v for k, v in given.items()}}
    )


@pytest.fixture
def judge(tmp_path):
    """A reward of a user's own that writes down how many samples it is asked for."""
    log = tmp_path / "sizes"
    (tmp_path / "judge.py").write_text(
        "from pathlib import Path\n"
        "def score(batch):\n"
        f"    with Path({str(log)!r}).open('a') as log:\n"
        "        log.write(f'{len(batch)} ')\n"
        "    return [float(m[0, 0, 0]) for m in batch.media]\n"
    )
    return f"{tmp_path / 'judge.py'}:score", lambda: [int(n) for n in log.read_text().split()]


def test_a_rollout_is_scored_in_bounded_batches(judge):
    spec, sizes = judge
    rewards = Rewards(f"{spec}+sharpness", "cpu", ScoringConfig(batch_size=4))
    scores = rewards(levels(*range(10)), asked("a", "b"), 5)
    assert sizes() == [4, 4, 2]
    assert scores[spec].tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    Rewards(spec, "cpu")(levels(*range(40)), asked("a"), 40)
    assert sizes()[3:] == [32, 8]


def test_a_dead_service_stops_training(tmp_path):
    (tmp_path / "j.py").write_text(
        "from rewardkit import RewardUnavailable\n"
        "def score(batch):\n    raise RewardUnavailable('no answer')\n"
    )
    with pytest.raises(RewardUnavailable, match="no answer"):
        Rewards(f"{tmp_path / 'j.py'}:score", "cpu")(levels(1, 2), asked("a"), 2)


def modules():
    # By type: `isinstance` asks the objects, and some of other libraries answer with a warning.
    return [m for m in gc.get_objects() if issubclass(type(m), torch.nn.Module)]


@pytest.mark.parametrize("name", [card.name for card in list_rewards()])
def test_every_network_of_a_reward_can_be_moved(name):
    # As meta tensors the networks hold nothing: one that was not found would still be on the CPU.
    loader = Loader("cpu", tiny=True)
    before = {id(m) for m in modules()}
    reward = entry(name).cls.load(entry(name).card, loader)
    loader.move("meta")
    made = [m for m in modules() if id(m) not in before]
    there = [t.device.type for m in made for t in (*m.parameters(), *m.buffers())]
    assert set(there) <= {"meta"}
    # Networks in ONNX files stay where they are.
    weights = entry(name).card.all_weights
    assert bool(there) == any(not w.contents.endswith(".onnx") for w in weights)
    del reward


def test_networks_wait_on_the_cpu_while_they_score_nothing(monkeypatch):
    moves = []
    monkeypatch.setattr(Loader, "move", lambda self, where: moves.append(str(where)))
    real = Loader.__init__

    def on_gpu(self, *args, **more):  # as far as the moving goes
        real(self, *args, **more)
        self.device = torch.device("cuda")

    monkeypatch.setattr(Loader, "__init__", on_gpu)
    rewards = Rewards("sharpness", "cpu", ScoringConfig(offload=True))
    assert moves == ["cpu"]
    rewards(levels(1, 2), asked("a"), 2)
    assert moves == ["cpu", "cuda", "cpu"]
    with pytest.raises(ScoringError):  # where scoring fails they leave the device all the same
        rewards(torch.zeros(2, 3, 1, 1, dtype=torch.uint8)[:, :, :0], asked("a"), 2)
    assert moves == ["cpu", "cuda", "cpu", "cuda", "cpu"]
    moves.clear()
    Rewards("sharpness", "cpu")(levels(1, 2), asked("a"), 2)
    assert moves == []


def test_offloading_from_the_cpu_is_refused():
    with pytest.raises(UsageError, match="their device is the CPU"):
        Rewards("sharpness", "cpu", ScoringConfig(offload=True))
    with pytest.raises(UsageError, match=r"scoring\.device is cpu"):
        settings(scoring__offload="true", scoring__device="cpu")


def test_device_and_dtype_are_the_networks():
    rewards = Rewards("shapes-clip", "meta", ScoringConfig(device="cpu", dtype="bfloat16"))
    (network,) = rewards._loader.networks
    assert network.visual.conv1.weight.dtype == torch.bfloat16
    assert network.visual.conv1.weight.device.type == "cpu"
    with pytest.raises(UsageError, match="device 'abacus' cannot be used"):
        Rewards("sharpness", "cpu", ScoringConfig(device="abacus"))


def test_local_weights_are_read_and_named(tmp_path):
    located = Rewards("shapes-clip", "cpu").located["shapes-clip"].path
    copy = located.parent.parent / "shapes-clip" / located.name
    own = ScoringConfig(weights={"shapes-clip": str(copy)})
    assert Rewards("shapes-clip+sharpness", "cpu", own).located["shapes-clip"].path == copy
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    wrong = ScoringConfig(weights={"shapes-clip": str(tmp_path / "w.safetensors")})
    with pytest.raises((WeightsError, UsageError)):
        Rewards("shapes-clip", "cpu", wrong)


def test_scoring_settings_are_printed_as_they_are_read(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"")
    weights = f"laion-aesthetic.v2={tmp_path / 'w.safetensors'}"
    command = ["train", "--model", "shapes-flow", "-r", "shapes-correct", "--dry-run",
               "--set", "evaluation.rewards=laion-aesthetic.v2", "--weights", weights,
               "--set", "scoring.batch_size=7"]  # fmt: skip
    shown = CliRunner().invoke(main, command)
    assert shown.exit_code == 0, shown.output
    table = tomllib.loads(shown.stdout)["scoring"]
    assert table == {
        "device": "none",
        "dtype": "float32",
        "batch_size": 7,
        "offload": False,
        "weights": {"laion-aesthetic.v2": str(tmp_path / "w.safetensors")},
        "endpoint": "none",
        "judge_model": "none",
        "concurrency": 16,
        "timeout": 120.0,
    }
    (tmp_path / "mine.toml").write_text(shown.stdout)
    again = CliRunner().invoke(
        main, ["train", "--recipe", str(tmp_path / "mine.toml"), "--dry-run", "--json"]
    )
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["config"]["scoring"]["weights"] == table["weights"]
    by_set = settings(scoring__weights="a.b=x,c=y=z").config.scoring.weights
    assert by_set == {"a.b": "x", "c": "y=z"}


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"reward": "temporal-stability"}, "temporal-stability takes videos, and the model makes"),
        ({"reward": "sharpness+motion-smoothness"}, "motion-smoothness takes videos"),
        ({"evaluation__rewards": "dynamic-degree"}, "dynamic-degree takes videos"),
        (
            {"reward": "geneval"},
            r"geneval cannot judge (\d+) of \1 prompts; first .*unknown class 'triangle'",
        ),
        (
            {"reward": "shapes-correct", "prompts": "cats.txt"},
            "cannot judge 1 of 2 prompts.*line 2",
        ),
        ({"scoring__weights": "nonsense=w.bin"}, "unknown name of weights 'nonsense'"),
        ({"scoring__weights": "nonsense=absent.bin"}, "there is no file absent.bin"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_is_sampled(
    tmp_path, monkeypatch, given, what
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cats.txt").write_text("a red ring\na photo of a cat\n")
    (tmp_path / "w.bin").write_bytes(b"")
    command = ["train", "--model", "shapes-flow", "-o", "run"]
    for key, value in given.items():
        command += ["--set", f"{key.replace('__', '.')}={value}"]
    for more in (["--dry-run"], []):
        shown = CliRunner().invoke(main, [*command, *more])
        assert isinstance(shown.exception, UsageError | SystemExit), shown.exception
        text = shown.output + str(shown.exception)
        assert re.search(what, text), text
        assert not (tmp_path / "run").exists()


def test_a_group_reward_is_for_training_alone(monkeypatch):
    from rewardkit.engine import registry
    from rewardkit.engine.card import RewardCard

    list_rewards()
    monkeypatch.setattr(registry, "_entries", dict(registry._entries))

    @register(RewardCard(name="won", summary="M.", inputs=("image",), unit="u", range=(None, None)))
    class Won(GroupReward, MeasuredReward):
        def measure(self, medium):
            return 1.0

    config = settings(reward="won", evaluation__rewards="sharpness").config
    model = Model("here", "StableDiffusionPipeline", None)
    ready.check(config, asked("a"), asked("b"), model)
    config = settings(reward="won", evaluation__rewards="won").config
    ready.check(config, asked("a"), None, model)
    with pytest.raises(UsageError, match=r"won compares.*Name other evaluation\.rewards"):
        ready.check(config, asked("a"), asked("b"), model)
