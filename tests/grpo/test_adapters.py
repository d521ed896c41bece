"""What is trained is what was asked for, and what is saved is that, for plain diffusers."""

import json
from pathlib import Path

import pytest
import safetensors
import tiny_policies
import torch
from diffusers import DiffusionPipeline
from safetensors.torch import load_file
from tiny_policies import inputs, policy

import grpo.export
from grpo.export import export, save_whole
from rewardkit.errors import InputError, UsageError, WeightsError
from rewardkit.generators.pipelines import load

ABSENT = {"text_encoder_3": None, "tokenizer_3": None}  # diffusers asks for T5 where there is none
PARTS = {"sd": {}, "sd-v": {}, "sd3": ABSENT}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def moved(folder, **settings):
    """A policy whose weights are not the base's."""
    made = policy(folder, policy=settings)
    if not made.adapted:
        with torch.no_grad():
            for weight in made.parameters().values():
                weight.mul_(1.1)
    return made


def output(network, made):
    """What a plain network makes of what a policy's is given."""
    x, timesteps, condition = inputs(made)
    given = {name: tensor[0] for name, tensor in condition.per_sample.items()}
    with torch.no_grad():
        return network(x, timestep=timesteps, **given).sample


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", PARTS)
def test_an_exported_lora_is_the_policy_in_plain_diffusers(folders, name, tmp_path):
    made = moved(folders[name])  # alpha 6, rank 2
    export(made, tmp_path, {"reward": "ours"})
    plain = DiffusionPipeline.from_pretrained(folders[name], **PARTS[name])
    base = output(getattr(plain, made.parts[0]), made)
    plain.load_lora_weights(tmp_path)
    with torch.no_grad():
        expected = made.predict(*inputs(made))
    close(output(getattr(plain, made.parts[0]), made), expected)
    assert (expected - base).abs().max() > 0.01


@pytest.mark.parametrize("name", PARTS)
def test_an_exported_pipeline_is_the_policy_in_plain_diffusers(folders, name, tmp_path):
    made = moved(folders[name], parameters="full")
    export(made, tmp_path, {})
    plain = DiffusionPipeline.from_pretrained(tmp_path, **PARTS[name])
    with torch.no_grad():
        close(output(getattr(plain, made.parts[0]), made), made.predict(*inputs(made)))
    # What is not trained is as it was, the scheduler too.
    base = DiffusionPipeline.from_pretrained(folders[name], **PARTS[name])
    assert plain.scheduler.config == base.scheduler.config
    for part in ("vae", "text_encoder"):
        was, now = (getattr(pipe, part).state_dict() for pipe in (base, plain))
        assert all(torch.equal(was[key], now[key]) for key in was)


@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_a_run_in_low_precision_exports_float32(folders, parameters, tmp_path):
    made = moved(folders["sd"], parameters=parameters, dtype="bfloat16")
    export(made, tmp_path, {})
    files = list(tmp_path.rglob("*.safetensors"))
    assert len(files) == (1 if parameters == "lora" else 3)  # the UNet, the VAE, the text encoder
    for file in files:
        assert {tensor.dtype for tensor in load_file(file).values()} == {torch.float32}


def test_frozen_parts_are_copied_from_their_source(folders, tmp_path):
    asked = tiny_policies.config("sd3", policy={"parameters": "full", "dtype": "bfloat16"})
    asked = asked.model_copy(update={"model": str(folders["sd3"])})
    made = tiny_policies.policies.of(tiny_policies.policies.load(asked), asked)
    pipe = made.pipeline.diffusers
    assert pipe.text_encoder.dtype == torch.bfloat16  # not kept in float32 for the export
    export(made, tmp_path, {})
    frozen = [
        file
        for part in ("vae", "text_encoder", "text_encoder_2")
        for file in (folders["sd3"] / part).iterdir()
    ]
    assert len([file for file in frozen if file.suffix == ".safetensors"]) == 3
    for file in frozen:
        assert file.read_bytes() == (tmp_path / file.parent.name / file.name).read_bytes()
    index = [
        json.loads((one / "model_index.json").read_text()) for one in (folders["sd3"], tmp_path)
    ]
    assert index[0] == {key: value for key, value in index[1].items() if key != "_name_or_path"}
    trained = load_file(tmp_path / "transformer" / WEIGHTS)
    source = load_file(folders["sd3"] / "transformer" / WEIGHTS)
    # Not one bit of a float32 file is lost on the way through a run in bfloat16.
    assert all(torch.equal(trained[key], source[key]) for key in source)


@pytest.mark.parametrize("source", [None, "variant"])
def test_frozen_parts_without_files_are_saved_from_memory(folders, tmp_path, source):
    made = moved(folders["sd"], parameters="full")
    folder = tmp_path / "variant" if source else None
    if folder is not None:  # it holds weights under names that need `variant="fp16"`
        (folder / "vae").mkdir(parents=True)
        (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"")
    pipe = made.pipeline.diffusers
    save_whole(pipe, made.networks, folder, tmp_path / "out")
    plain = DiffusionPipeline.from_pretrained(tmp_path / "out")
    was, now = pipe.vae.state_dict(), plain.vae.state_dict()
    assert all(torch.equal(was[key], now[key]) for key in was)


def test_other_weights_are_exported_while_they_are_in_force(folders, tmp_path):
    made = moved(folders["sd"])
    made.keep("ones")
    made.banks["ones"].restore({n: torch.ones_like(v) for n, v in made.parameters().items()})
    with made.using("ones"):
        export(made, tmp_path, {})
    saved = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    assert {float(tensor.mean()) for tensor in saved.values()} == {1.0}


@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_an_export_says_how_it_was_made_and_is_sampled(folders, parameters, tmp_path):
    settings = {"sampler": {"guidance": 3.0}, "policy": {"parameters": parameters}}
    made = policy(folders["sd"], **settings)
    export(made, tmp_path, {"reward": "ours", "protocol": "not this"})
    card = json.loads((tmp_path / "rewardkit.json").read_text("utf-8"))
    assert card == {"reward": "ours", "protocol": made.protocol.model_dump()}
    worn = {"tuned": tmp_path} if parameters == "lora" else {}
    again = load(folders["sd"] if worn else tmp_path, device="cpu", **worn)
    assert again.protocol == made.protocol and again.protocol.guidance == 3.0


class Killed(BaseException):
    """Ends an export where it is raised, as SIGKILL would."""


# Where an export is killed, and whether there is a model then, where there was one before.
MOMENTS = {
    "before a file": (DiffusionPipeline, "save_config", 0, True),
    "after the weights": (grpo.export, "write_json", 0, True),
    "before the first move": (Path, "rename", 0, True),
    "between the moves": (Path, "rename", 1, False),
    "before the old one is gone": (grpo.export.shutil, "rmtree", 2, True),
}


@pytest.mark.parametrize("parameters", ["lora", "full"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_export_leaves_a_whole_model_or_none(
    folders, tmp_path, monkeypatch, parameters, moment
):
    made, folder = moved(folders["sd"], parameters=parameters), tmp_path / "model"
    export(made, folder, {"reward": "before"})
    files = {path.relative_to(folder) for path in folder.rglob("*")}
    owner, name, calls, there = MOMENTS[moment]
    if moment == "before a file" and parameters == "lora":
        owner, name = type(made.pipeline.diffusers), "save_lora_weights"
    real, left = getattr(owner, name), [None] * calls

    def kill(*given, **named):
        if not left:
            raise Killed
        left.pop()
        return real(*given, **named)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(owner, name, kill)
        # What a killed process does not do.
        for other in {"rmtree"} - {name}:
            patch.setattr(grpo.export.shutil, other, lambda *given, **named: None)
        export(made, folder, {"reward": "after"})
    assert folder.exists() is there
    if there:
        assert {path.relative_to(folder) for path in folder.rglob("*")} == files
        card = json.loads((folder / "rewardkit.json").read_text("utf-8"))
        assert card["reward"] == ("after" if moment == "before the old one is gone" else "before")
    export(made, folder, {"reward": "again"})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert {path.relative_to(folder) for path in folder.rglob("*")} == files


def test_an_export_that_the_disk_does_not_take_leaves_the_one_before(
    folders, tmp_path, monkeypatch
):
    made, folder = moved(folders["sd"]), tmp_path / "model"
    export(made, folder, {"reward": "before"})
    error = safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(type(made.pipeline.diffusers), "save_lora_weights", fail)
    with pytest.raises(InputError, match=r"cannot be written to .*No space left.*--resume"):
        export(made, folder, {})
    assert json.loads((folder / "rewardkit.json").read_text("utf-8"))["reward"] == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_run_that_was_not_exported_completely_is_refused_by_name(folders, tmp_path):
    """Without its card, whoever samples or ranks it would not know what it was trained on."""
    made, run = moved(folders["sd"]), tmp_path / "run"
    export(made, run / "model", {"reward": "ours"})
    for name in ("config.json", "rewardkit.json"):
        (run / name).write_text("{}")
    (run / "model/rewardkit.json").rename(tmp_path / "card")
    for given in (run, run / "model", run / "model/pytorch_lora_weights.safetensors"):
        with pytest.raises(WeightsError, match="has not been exported completely") as refused:
            load(folders["sd"], device="cpu", tuned=given)
        assert f"grpo train -o {run} --resume" in str(refused.value)
    with pytest.raises(WeightsError, match="has not been exported completely"):
        load(run / "model", device="cpu")
    (tmp_path / "card").rename(run / "model/rewardkit.json")
    assert load(folders["sd"], device="cpu", tuned=run).tuned is not None


def test_a_pipeline_that_wears_a_lora_is_not_trained(folders, tmp_path):
    export(moved(folders["sd"]), tmp_path, {})
    with pytest.raises(UsageError, match=r"has loaded the tuned weights .*fuse_lora"):
        tiny_policies.policies.of(
            load(folders["sd"], device="cpu", tuned=tmp_path), tiny_policies.config("sd")
        )


# What is trained.


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_a_lora_is_on_attention_and_begins_as_nothing(folders, name):
    made = tiny_policies.policies.of(load(folders[name], device="cpu"), tiny_policies.config(name))
    layers = {key.split(".lora_")[0] for key in made.parameters()}
    modules = dict(made.network.named_modules())
    attention = {
        key
        for key, module in modules.items()
        if isinstance(module, torch.nn.Linear)
        and "lora" not in key
        and any(part.startswith("attn") for part in key.split("."))
        and not key.endswith("base_layer")
    }
    with made.using("start"):
        base = made.predict(*inputs(made))
    assert layers and not attention - layers
    assert torch.equal(made.predict(*inputs(made)).detach(), base)


def test_the_layers_of_a_lora_can_be_named(folders):
    made = moved(folders["sd"], targets=("attn2.to_q", "conv_in"), rank=3)
    ends = {".".join(key.split(".lora_")[0].split(".")[-2:]) for key in made.parameters()}
    assert ends == {"attn2.to_q", "conv_in"}
    assert {min(value.shape[:2]) for value in made.parameters().values()} == {3}


def test_a_layer_that_is_not_there_is_refused(folders):
    with pytest.raises(UsageError, match=r"UNet2DConditionModel is named 'to_x'\..*attn1\.to_q"):
        moved(folders["sd"], targets=("to_q", "to_x"))
    # Part of a name is no name.
    with pytest.raises(UsageError, match="is named 'o_q'"):
        moved(folders["sd"], targets=("o_q",))


def test_the_seed_alone_decides_how_a_lora_begins(folders):
    def begun(seed):
        before = torch.random.get_rng_state()
        config = tiny_policies.config("sd").model_copy(update={"seed": seed})
        made = tiny_policies.policies.of(load(folders["sd"], device="cpu"), config)
        assert torch.equal(torch.random.get_rng_state(), before)
        return torch.cat([value.detach().flatten() for value in made.parameters().values()])

    first = begun(1)
    torch.rand(5)
    assert torch.equal(begun(1), first)
    assert not torch.equal(begun(2), first)


def test_a_full_run_trains_every_weight_of_the_network(folders):
    made = moved(folders["sd3"], parameters="full")
    assert made.parameters().keys() == dict(made.network.named_parameters()).keys()
