"""A dry run's memory is what training takes: predicted without weights, measured by the allocator.

Measured: the bytes of the tensors that are there before the first step, counted one by one, and the
most that the CPU's allocator gives out on top of them while two steps are trained (torch.profiler).
"""

import gc

import pytest
import tiny_policies
import tiny_runs
import torch
from torch import Tensor

from grpo import memory, policies
from grpo.rewards import Rewards
from grpo.trainer import Trainer
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import PromptLine, read

KINDS = {
    # Activations are most of it; the LoRA is small.
    "sd lora": ("sd", {"sampler": {"guidance": 3.0, "batch_size": 6}}, "sharpness"),
    # Optimizer, averages and copies of all weights.
    "sd3 full": (
        "sd3",
        {
            "policy": {"parameters": "full", "ema": 0.9},
            "objective": tiny_runs.FORWARD | {"kl": 0.1},
            "sampler": {"batch_size": 2},
        },
        "sharpness",
    ),
    # Low precision, recomputed activations, a reward with a network.
    "sd bfloat16": (
        "sd",
        {"policy": {"dtype": "bfloat16", "gradient_checkpointing": True, "rank": 8}},
        "shapes-clip",
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def config(folders, kind):
    name, tables, reward = KINDS[kind]
    return tiny_runs.config(folders[name], top={"reward": reward}, **tables)


def alive():
    """Bytes of all tensors that are there."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), Tensor) and thing.device.type == "cpu":
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def measured(asked):
    """The most bytes of a run of two steps."""
    before = alive()
    policy = policies.of(policies.load(asked), asked)
    rewards = Rewards(asked.reward, "cpu", asked.scoring)
    trainer = Trainer(asked, policy, rewards, read(asked.prompts))
    held = alive() - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        trainer.step(0)
        trainer.step(1)
    events = profile.profiler.kineto_results.events()
    now = highest = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            highest = max(highest, now)
    return held + highest


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_estimate_is_within_15_percent_of_what_training_takes(folders, kind):
    asked = config(folders, kind)
    folder = folders[KINDS[kind][0]]
    estimate = memory.of_folder(asked, str(folder), folder, "cpu", read(asked.prompts)[0])
    assert not estimate.unknown
    assert estimate.device_peak == pytest.approx(measured(asked), rel=0.15)


def estimated(folder, **tables):
    asked = tiny_runs.config(folder, **tables)
    return memory.of_folder(asked, str(folder), folder, "cpu", read(asked.prompts)[0])


def test_parts_are_counted_from_the_runs_own_policy(folders):
    lora = estimated(folders["sd"])
    policy = policies.of(load(folders["sd"], device="cpu"), tiny_runs.config(folders["sd"]))
    trained = 4 * sum(p.numel() for p in policy.parameters().values())
    pipe = policy.pipeline.diffusers
    assert lora.held["LoRA"] == lora.held["gradients"] == lora.held["optimizer"] / 2 == trained
    assert lora.held["network"] == sum(p.nbytes for p in pipe.unet.parameters()) - trained
    assert lora.held["VAE"] == sum(p.nbytes for p in pipe.vae.parameters())
    encoder = pipe.text_encoder
    tensors = (*encoder.parameters(), *encoder.buffers())
    assert lora.host["text encoders"] == sum(tensor.nbytes for tensor in tensors)
    assert lora.host["media"] == 6 * 3 * 32 * 32
    # Two steps of three are trained on: three states of 2 bytes less in float16; and x0.
    assert lora.host["trajectory"] == 6 * 4 * 8 * 8 * (3 * 4 + 4)
    assert lora.held["averages"] == lora.held["copies of weights"] == 0


@pytest.mark.slow
def test_copies_averages_and_low_precision_are_counted(folders):
    full = estimated(
        folders["sd3"],
        policy={"parameters": "full", "ema": 0.9, "dtype": "bfloat16"},
        objective=tiny_runs.FORWARD | {"kl": 0.1},
    )
    assert full.held["copies of weights"] == 2 * full.held["averages"] > 0
    assert full.held["trained weights"] == full.held["averages"]
    exact, low = (
        estimated(folders["sd3"], policy={"dtype": dtype}) for dtype in ("float32", "bfloat16")
    )
    assert low.host["text encoders"] == pytest.approx(exact.host["text encoders"] / 2, rel=0.01)
    assert low.held["VAE"] == exact.held["VAE"]


@pytest.mark.slow
def test_recomputing_activations_takes_less(folders):
    plain = estimated(folders["sd"])
    less = estimated(folders["sd"], policy={"gradient_checkpointing": True})
    assert less.phases["update"] < plain.phases["update"]
    assert less.held == plain.held


def test_a_device_that_has_less_is_warned_of(folders, monkeypatch):
    estimate = estimated(folders["sd"])
    assert not any(line.startswith("WARNING") for line in estimate.lines())
    monkeypatch.setattr("grpo.memory_report.memory_of", lambda device: estimate.device_peak - 1)
    assert "WARNING: that is more than cpu has. Set a smaller" in estimate.lines()[-1]
    estimate.device = torch.device("meta")
    for spare, warned in ((0, False), (-1, True)):
        machine = {"cpu": estimate.on_host + spare}
        monkeypatch.setattr("grpo.memory_report.memory_of", lambda d, m=machine: m.get(d.type))
        assert ("less than what a rollout and the text" in estimate.lines()[-1]) == warned


@pytest.mark.slow
@pytest.mark.parametrize(
    # First frames, which two of them begin with, are files that a prompt's line names.
    "name",
    [name for name in tiny_policies.ALL if name not in ("skyreels", "wan-i2v")],
)
def test_every_family_is_estimated_without_a_file_of_weights(name, tmp_path):
    folder = tmp_path / name
    tiny_policies.ALL[name](tmp_path / "tokenizer").save_pretrained(folder)
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    asked = tiny_policies.config(name)
    estimate = memory.of_folder(asked, str(folder), folder, "cpu", PromptLine("", "a"))
    assert min(estimate.phases.values()) >= 0 and estimate.phases["update"] > 0
    assert estimate.host["text encoders"] > 0
