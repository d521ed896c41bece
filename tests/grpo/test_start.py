"""Training that starts from a LoRA goes on from it, as far as its file is what a run can train."""

import json
from pathlib import Path

import pytest
import tiny_policies
import tiny_runs
import torch
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

import grpo.train
from grpo import policies
from grpo.cli import main
from grpo.config.resolve import resolve
from grpo.export import export
from grpo.run import Run
from grpo.start import take
from grpo.train import train
from rewardkit.errors import UsageError, WeightsError
from rewardkit.generators.pipelines import load

FILE = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture(scope="module", params=["sd", "sd3"])
def lora(request, folders, tmp_path_factory):
    """The pipeline's name, and a LoRA of rank 3 and alpha 5 on some of its layers."""
    folder = tmp_path_factory.mktemp("lora")
    targets = {"sd": ("attn2.to_q", "to_k"), "sd3": ("attn.to_q", "attn.add_k_proj")}
    settings = {"rank": 3, "alpha": 5, "targets": targets[request.param]}
    made = tiny_policies.policy(folders[request.param], policy=settings)
    export(made, folder, {"trained_on": {"reward": "0.5*hps.v2.1+sharpness@0.3"}})
    return request.param, folder


def asked(folders, name, folder, **changes):
    return tiny_runs.config(
        folders[name], policy={"init_lora": str(folder), "rank": 32, "alpha": 64}, **changes
    )


def test_the_first_sample_is_of_the_lora(folders, lora):
    """Its rank, alpha and layers hold, and its values are the policy's to the bit."""
    name, folder = lora
    pipeline = load(folders[name], device="cpu")
    start = take(pipeline, policies.part(pipeline), folder)
    config = start.adopted(asked(folders, name, folder))
    made = policies.of(pipeline, config)
    with made.using("start"):
        base = made.predict(*tiny_policies.inputs(made))
    start.put(made)
    assert (config.policy.rank, config.policy.alpha) == (3, 5)
    worn = load(folders[name], device="cpu", tuned=folder).diffusers
    x, timesteps, condition = tiny_policies.inputs(made)
    given = {key: tensor[0] for key, tensor in condition.per_sample.items()}
    with torch.no_grad():
        expected = getattr(worn, made.parts[0])(x, timestep=timesteps, **given).sample
        ours = made.predict(x, timesteps, condition)
        with made.using("start"):  # what kl is measured from is the model without the LoRA
            assert torch.equal(made.predict(x, timesteps, condition), base)
    assert torch.equal(ours, expected)
    assert (expected - base).abs().max() > 0.01
    export(made, folder.parent / f"again-{name}", {})
    before, after = (load_file(f / FILE) for f in (folder, folder.parent / f"again-{name}"))
    assert tiny_runs.same(before, after)


def test_a_network_in_low_precision_costs_the_lora_no_bit(folders, lora):
    name, folder = lora
    pipeline = load(folders[name], device="cpu", dtype="bfloat16")
    network = getattr(pipeline.diffusers, policies.part(pipeline))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    taken = take(pipeline, policies.part(pipeline), folder).tensors
    assert tiny_runs.same(network.state_dict(), before)
    assert network.dtype == torch.bfloat16
    saved = load_file(folder / FILE)
    assert {name.split(".", 1)[1] for name in saved} == set(taken)
    assert all(torch.equal(saved[f"{policies.part(pipeline)}.{key}"], taken[key]) for key in taken)


def test_a_run_starts_from_a_lora_and_goes_on(folders, lora, tmp_path):
    name, folder = lora
    config = asked(folders, name, folder, checkpoint={"every": 1})
    answers = iter([False, True])
    with pytest.raises(grpo.train.Stopped):
        train(config, out=tmp_path / "a", device="cpu", should_stop=lambda: next(answers))
    run = train(config, out=tmp_path / "a", resume=True, device="cpu")
    straight = train(config, out=tmp_path / "b", device="cpu")
    assert tiny_runs.same(tiny_runs.outcome(run), tiny_runs.outcome(straight))
    assert CliRunner().invoke(main, ["train", "-o", str(run.folder), "--resume"]).exit_code == 0
    stored = run.read_config().policy
    assert (stored.rank, stored.alpha, stored.init_lora) == (3, 5, str(folder))
    card = json.loads((run.model / "rewardkit.json").read_text("utf-8"))
    assert card["init_lora"]["source"] == str(folder / FILE)
    assert len(card["init_lora"]["sha256"]) == 64
    assert load(folders[name], device="cpu", tuned=run.folder).tuned is not None


def test_what_was_trained_before_is_not_forgotten(folders, lora, tmp_path):
    name, folder = lora
    config = asked(folders, name, folder, top={"steps": 1})
    run = train(config, out=tmp_path / "a", device="cpu")
    told = json.loads((run.model / "rewardkit.json").read_text("utf-8"))["trained_on"]
    assert told["reward"] == "sharpness+hps.v2.1"  # the run's, and what is not among them
    assert told["before"] == {"reward": "0.5*hps.v2.1+sharpness@0.3"}


def test_what_a_whole_model_was_trained_on_is_not_forgotten(folders, tmp_path):
    full = {"parameters": "full"}
    first = train(tiny_runs.config(folders["sd"], top={"steps": 1, "reward": "colorfulness"},
                                   policy=full), out=tmp_path / "a", device="cpu")  # fmt: skip
    again = tiny_runs.config(
        folders["sd"], top={"steps": 1, "model": str(first.model)}, policy=full
    )
    run = train(again, out=tmp_path / "b", device="cpu")
    assert load(run.model, device="cpu").trained_on["reward"] == "sharpness+colorfulness"


def test_a_lora_that_cannot_be_trained_as_one_is_refused(folders, tmp_path):
    def made(folder, **settings):
        pipe = load(folders["sd"], device="cpu").diffusers
        network = pipe.unet
        network.add_adapter(LoraConfig(target_modules=["to_q"], **settings))
        pipe.save_lora_weights(
            folder,
            unet_lora_layers=get_peft_model_state_dict(network),
            unet_lora_adapter_metadata=network.peft_config["default"].to_dict(),
        )
        return folder

    (tmp_path / "none").mkdir()
    pipeline = load(folders["sd"], device="cpu")
    for name, settings, told in [
        ("scaled", {"r": 4, "lora_alpha": 8, "use_rslora": True}, "has use_rslora True"),
        ("half", {"r": 4, "lora_alpha": 2.5}, r"has alpha 2\.5"),
    ]:
        with pytest.raises(UsageError, match=f"{told}.*fuse_lora"):
            take(pipeline, "unet", made(tmp_path / name, **settings))
    with pytest.raises(WeightsError, match="holds no LoRA"):
        take(pipeline, "unet", tmp_path / "none")
    assert not getattr(pipeline.diffusers.unet, "peft_config", None)


def test_a_lora_for_more_than_is_trained_is_refused(folders, tmp_path):
    pipe = load(folders["sd"], device="cpu").diffusers
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    pipe.text_encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"]))
    pipe.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(pipe.unet),
        text_encoder_lora_layers=get_peft_model_state_dict(pipe.text_encoder),
    )
    with pytest.raises(
        UsageError, match=r"is for text_encoder and unet, but only the unet is trained"
    ):
        take(load(folders["sd"], device="cpu"), "unet", tmp_path)


def test_what_contradicts_the_lora_is_refused(tmp_path):
    lora = {"policy.init_lora": str(tmp_path), "policy.parameters": "lora"}
    settings = {"model": "shapes-flow"} | lora
    for key, value in {"rank": "8", "alpha": "8", "targets": "to_q"}.items():
        with pytest.raises(
            UsageError, match=rf"policy\.{key} and a LoRA to start from are both given"
        ):
            resolve(settings=settings | {f"policy.{key}": value})
    with pytest.raises(UsageError, match=r"policy\.init_lora is set, but .* is full"):
        resolve(settings=settings | {"policy.parameters": "full"})
    dry = ["train", "--model", "shapes-flow", "--dry-run", "--lora"]
    shown = CliRunner().invoke(main, [*dry, str(tmp_path)])
    assert shown.exit_code == 0 and 'parameters = "lora"' in shown.stdout
    assert f"# trained: the LoRA {tmp_path}, of its own rank and layers" in shown.stdout
    refused = CliRunner().invoke(main, [*dry, str(tmp_path / "none")])
    assert refused.exit_code == 2 and "no LoRA to start from" in refused.stderr


def test_another_lora_is_another_run(folders, lora, tmp_path):
    name, folder = lora
    run = train(asked(folders, name, folder, top={"steps": 1}), out=tmp_path / "a", device="cpu")
    other = tmp_path / "other"
    other.mkdir()
    tensors = load_file(folder / FILE)
    save_file(tensors, other / FILE)
    with pytest.raises(UsageError, match=r"whose policy\.init_lora is "):
        Run.open(Path(run.folder), asked(folders, name, other, top={"steps": 1}), True)


def test_a_lora_on_the_hub_is_started_from(folders, lora, tmp_path, monkeypatch):
    """By its name, from any folder."""
    name, folder = lora
    monkeypatch.setattr("grpo.train.lora_path", {"some/lora@main": folder}.__getitem__)
    config = asked(folders, name, "some/lora@main", top={"steps": 1})
    run = train(config, out=tmp_path / "run", device="cpu")
    assert run.read_config().policy.init_lora == "some/lora@main"
