"""A LoRA is added whole or refused: in the layouts of the field, and damaged in every way."""

import copy
import functools
import json
import logging
import re
import shutil
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from rewardkit.errors import WeightsError
from rewardkit.generators.aliases import ALIASES
from rewardkit.generators.folders import read
from rewardkit.generators.lora import LORA, PEFT_LORA, add_lora, find_lora

PARTS = {"shapes-sd": "unet", "shapes-flow": "transformer"}
TARGETS = ["to_q", "to_v"]


@functools.cache
def from_disk(name):
    return read(ALIASES[name].place, torch.float32)


def pipeline(name):
    return copy.deepcopy(from_disk(name))


def answer(name, network):
    """What a network makes of noise."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(*shape, generator=generator)

    config = network.config
    side = config.sample_size
    with torch.no_grad():
        if name == "shapes-sd":
            words = noise(2, 7, config.cross_attention_dim)
            latents = noise(2, config.in_channels, side, side)
            return network(latents, torch.tensor([5]), words, return_dict=False)[0]
        return network(
            noise(2, config.in_channels, side, side),
            timestep=torch.tensor([500.0, 500.0]),
            encoder_hidden_states=noise(2, 7, config.joint_attention_dim),
            pooled_projections=noise(2, config.pooled_projection_dim),
            return_dict=False,
        )[0]


def peft_trained(name, folder, **settings):
    """A network that peft has adapted, saved as flow_grpo, Flow-Factory and DiffusionNFT do."""
    pipe = pipeline(name)
    network = getattr(pipe, PARTS[name])
    options = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS, **settings}
    adapted = get_peft_model(network, LoraConfig(**options)).eval()
    generator = torch.Generator().manual_seed(1)
    for key, tensor in adapted.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(tensor, std=0.1, generator=generator)
    adapted.save_pretrained(folder)
    return answer(name, network)


def added(name, path):
    pipe = pipeline(name)
    add_lora(pipe, path)
    return answer(name, getattr(pipe, PARTS[name]))


def rename(file, change, **metadata):
    state = {change(key): tensor for key, tensor in load_file(file).items()}
    save_file(state, file, metadata=metadata or None)


@pytest.fixture(scope="module", params=PARTS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def saved(name, tmp_path_factory):
    folder = tmp_path_factory.mktemp(name) / "checkpoint-60" / "lora"
    return folder, peft_trained(name, folder)


def copied(folder, to):
    return shutil.copytree(folder, to)


def test_a_folder_of_peft_is_the_network_that_was_trained(name, saved, caplog):
    folder, trained = saved
    base = answer(name, getattr(pipeline(name), PARTS[name]))
    assert (trained - base).abs().max() > 0.01
    for path in (folder, folder.parent, folder / PEFT_LORA):
        assert torch.equal(added(name, path), trained)
    assert caplog.records == []


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key.removeprefix("base_model.model."),
        lambda key: key.replace(".weight", ".default.weight"),
        lambda key: f"module.{key}",
        lambda key: f"base_model.model._orig_mod.{key.removeprefix('base_model.model.')}",
    ],
    ids=["bare", "adapter-named", "distributed", "compiled"],
)
def test_the_names_of_wrappers_change_nothing(name, saved, tmp_path, change):
    folder = copied(saved[0], tmp_path / "lora")
    rename(folder / PEFT_LORA, change)
    assert torch.equal(added(name, folder), saved[1])


def test_the_layout_of_dance_grpo_has_its_scale_beside_it(name, saved, tmp_path, caplog):
    folder = copied(saved[0], tmp_path / "lora")
    (folder / "adapter_config.json").unlink()
    file = (folder / PEFT_LORA).rename(folder / LORA)
    rename(file, lambda key: key.replace("base_model.model", PARTS[name]))
    fields = {
        "step": 60,
        "lora_params": {"lora_rank": 4, "lora_alpha": 8, "target_modules": TARGETS},
    }
    (folder / "lora_config.json").write_text(json.dumps(fields))
    assert torch.equal(added(name, folder), saved[1])
    assert caplog.records == []
    (folder / "lora_config.json").write_text("{}")
    with pytest.raises(WeightsError, match="lora_params with lora_rank and lora_alpha"):
        added(name, folder)
    (folder / "lora_config.json").unlink()
    assert not torch.equal(added(name, folder), saved[1])
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "states no alpha; a scale of 1 is used" in caplog.text


@pytest.mark.parametrize(
    "settings",
    [
        {"rank_pattern": {"to_v": 2}, "alpha_pattern": {"to_q": 2}},
        {"use_rslora": True},
        {"use_dora": True},
        {"lora_dropout": 0.5},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_settings_of_peft_ask_for_is_done(name, tmp_path, settings):
    trained = peft_trained(name, tmp_path / "lora", **settings)
    assert torch.equal(added(name, tmp_path / "lora"), trained)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("peft_type", "LOHA"),
        ("bias", "all"),
        ("modules_to_save", ["proj_out"]),
        ("init_lora_weights", "pissa"),
        ("a_setting_of_tomorrow", 3),
        ("r", 8),
    ],
)
def test_what_settings_ask_for_and_is_not_done_is_refused(name, saved, tmp_path, key, value):
    folder = copied(saved[0], tmp_path / "lora")
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(WeightsError, match="size mismatch" if key == "r" else "LOHA|not supported"):
        added(name, folder)


def test_a_lora_of_kohya_may_have_any_file_name(tmp_path):
    trained = peft_trained("shapes-sd", tmp_path / "peft")
    state = {}
    for key, tensor in load_file(tmp_path / "peft" / PEFT_LORA).items():
        module = key.removeprefix("base_model.model.").split(".lora_")[0].replace(".", "_")
        way = "down" if ".lora_A." in key else "up"
        state[f"lora_unet_{module}.lora_{way}.weight"] = tensor
        state[f"lora_unet_{module}.alpha"] = torch.tensor(8.0)
    folder = tmp_path / "kohya"
    folder.mkdir()
    save_file(state, folder / "my-style_v3.safetensors")
    assert torch.equal(added("shapes-sd", folder), trained)
    first = min(state).rsplit(".", 1)[0]
    other = {key.replace(first, "lora_unet_input_blocks_4_1_to_q"): t for key, t in state.items()}
    save_file(other, folder / "my-style_v3.safetensors")
    with pytest.raises(WeightsError, match=r"for another model|does not fit"):
        added("shapes-sd", folder)
    save_file({**state, f"{first}.dora_scale": torch.ones(4)}, folder / "my-style_v3.safetensors")
    with pytest.raises(WeightsError, match="dora_scale"):
        added("shapes-sd", folder)


STYLES = ["peft", "diffusers", "diffusers without settings"]


@pytest.fixture(scope="module")
def layouts(name, saved, tmp_path_factory):
    """One LoRA in peft's layout, in diffusers' own, and in that without settings; each loads."""
    home = tmp_path_factory.mktemp(f"{name}-layouts")
    shutil.copytree(saved[0], home / "peft")
    pipe, part = pipeline(name), PARTS[name]
    add_lora(pipe, saved[0])
    network = getattr(pipe, part)
    layers = get_peft_model_state_dict(network, adapter_name=next(iter(network.peft_config)))
    fields = {"r": 4, "lora_alpha": 8, "target_modules": TARGETS}
    for style, metadata in zip(
        STYLES[1:], ({f"{part}_lora_adapter_metadata": fields}, {}), strict=True
    ):
        pipe.save_lora_weights(home / style, **{f"{part}_lora_layers": layers}, **metadata)
    for style in STYLES:
        add_lora(pipeline(name), home / style)
    return home


def header(file):
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return opened.metadata()


def remove(state, key):
    return {k: t for k, t in state.items() if k != key}


def remove_module(state, key):
    module = key.split(".lora_")[0]
    return {k: t for k, t in state.items() if not k.startswith(f"{module}.lora_")}


def add(state, key):
    return {**state, key.replace(".to_q.", ".to_another."): state[key].clone()}


def other_model(state, key):
    """All but one module as a deeper model has them."""
    keep = key.split(".lora_")[0]
    deeper = ("transformer_blocks.0", "transformer_blocks.7")
    return {k if k.startswith(keep) else k.replace(*deeper): t for k, t in state.items()}


def second_encoder(state, key):
    layer = "text_encoder_4.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight"
    return {**state, layer: torch.ones(4, 8)}


DAMAGES = {
    "removed": remove,
    "module removed": remove_module,
    "added": add,
    "renamed": lambda state, key: remove(add(state, key), key),
    "NaN": lambda state, key: {**state, key: torch.full_like(state[key], torch.nan)},
    "reshaped": lambda state, key: {**state, key: state[key][:, :-1].clone()},
    "other model": other_model,
    "encoder that is not there": second_encoder,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("style", STYLES)
def test_a_damaged_lora_is_refused(name, layouts, tmp_path, style, damage):
    if (style, damage) == ("diffusers without settings", "module removed"):
        return  # nothing says that it was there
    folder = shutil.copytree(layouts / style, tmp_path / "lora")
    file = find_lora(folder)
    state = load_file(file)
    key = min(key for key in state if ".to_q." in key and "lora_A" in key)
    save_file(DAMAGES[damage](state, key), file, metadata=header(file))
    with pytest.raises(WeightsError, match=str(file)) as caught:
        add_lora(pipeline(name), file)
    if damage == "other model":
        before, after = (
            {key.split(".lora_")[0] for key in tensors} for tensors in (state, load_file(file))
        )
        said = f"{len(after - before)} of {len(before)} modules of the LoRA"
        assert said in str(caught.value)


def test_a_lora_that_is_all_zero_is_told_of(tmp_path, caplog):
    peft_trained("shapes-sd", tmp_path / "lora")
    file = find_lora(tmp_path / "lora")
    save_file({key: 0 * tensor for key, tensor in load_file(file).items()}, file)
    add_lora(pipeline("shapes-sd"), file)
    assert "is all zero: it changes nothing" in caplog.text


def test_a_folder_of_several_loras_names_them(saved, tmp_path):
    copied(saved[0], tmp_path / "a" / "one")
    copied(saved[0], tmp_path / "a" / "two")
    with pytest.raises(WeightsError, match=r"holds 2 LoRAs: one/adapter_model\.safetensors, two/"):
        find_lora(tmp_path / "a")
    copied(saved[0], tmp_path / "a" / "default")
    assert find_lora(tmp_path / "a") == tmp_path / "a" / "default" / PEFT_LORA


@pytest.mark.parametrize("name", ["pytorch_lora_weights.bin", "adapter_model.bin"])
def test_a_pickle_is_answered_with_what_converts_it(tmp_path, name):
    torch.save({"unet.to_q.lora_A.weight": torch.ones(2, 2)}, tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(WeightsError, match=r"could run code.* Convert it: python -c") as caught:
            find_lora(path)
    code = re.search(r'python -c "(.+)"$', str(caught.value))[1]
    subprocess.run([sys.executable, "-c", code], check=True)
    assert find_lora(tmp_path).suffix == ".safetensors"
