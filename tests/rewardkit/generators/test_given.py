"""What is given as a model: read whole, or refused with what was given and what to do."""

import builtins
import json
import re
import shutil

import pytest
import tiny_pipelines
import torch
from safetensors.torch import load_file, save_file

from rewardkit.errors import UsageError, WeightsError
from rewardkit.generators.pipelines import load
from rewardkit.weights.checkpoint import cause

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


def refused(source, match, **options):
    with pytest.raises((UsageError, WeightsError), match=match) as caught:
        load(source, device="cpu", **options)
    return str(caught.value)


DAMAGES = {
    "removed": lambda state, key: {k: t for k, t in state.items() if k != key},
    "added": lambda state, key: {**state, f"another.{key}": state[key].clone()},
    "renamed": lambda state, key: {(f"x{k}" if k == key else k): t for k, t in state.items()},
    "NaN": lambda state, key: {**state, key: torch.full_like(state[key], torch.nan)},
    "reshaped": lambda state, key: {**state, key: state[key][:-1].clone()},
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", [UNET, VAE, TEXT])
def test_a_damaged_part_is_refused(folder, file, damage):
    state = load_file(folder / file)
    key = min(key for key in state if state[key].dim() == 2)
    save_file(DAMAGES[damage](state, key), folder / file, metadata={"format": "pt"})
    refused(folder, file.split("/")[0])


@pytest.mark.parametrize("index", [[], {"unet": []}, {"unet": ["diffusers"]}, "[" * 100_000])
def test_an_index_that_is_none_is_refused_in_a_line(folder, index):
    text = index if isinstance(index, str) else json.dumps(index)
    (folder / "model_index.json").write_text(text)
    refused(folder, r"model_index\.json (cannot be read|is not an index of a pipeline)")


def test_a_folder_with_one_variant_is_read(folder, loaded):
    for file in (UNET, VAE, TEXT):
        path = folder / file
        state = {key: tensor.half() for key, tensor in load_file(path).items()}
        save_file(state, path.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})
        path.unlink()
    pipe = load(folder, device="cpu").diffusers
    for part in ("unet", "vae", "text_encoder"):
        pairs = zip(
            getattr(pipe, part).parameters(),
            getattr(loaded["sd"].diffusers, part).parameters(),
            strict=True,
        )
        assert all(torch.equal(one, other.half().float()) for one, other in pairs)
    shutil.copy(
        folder / "unet" / "diffusion_pytorch_model.fp16.safetensors",
        folder / "unet" / "diffusion_pytorch_model.bf16.safetensors",
    )
    refused(folder, "unet holds the variants bf16, fp16, and no other")


@pytest.mark.parametrize("name", ["sd15.safetensors", "sd15.ckpt"])
def test_a_single_file_is_answered_with_what_converts_it(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    error = refused(tmp_path / name, "it is one file. Convert it once")
    assert f"from_single_file('{tmp_path / name}').save_pretrained('FOLDER')" in error


def test_a_lora_or_a_run_is_answered_with_its_option(tmp_path, lora):
    refused(lora, re.escape(f"it is a LoRA of MODEL. Give MODEL as the model, and --tuned {lora}"))
    run = tmp_path / "run"
    shutil.copytree(lora, run / "model")
    card = {"base": {"source": "us/tiny", "alias": None, "revision": None}}
    (run / "model" / "rewardkit.json").write_text(json.dumps(card))
    refused(run, re.escape(f"made of us/tiny. Give us/tiny as the model, and --tuned {run}"))
    refused(run / "model", "it is a LoRA of us/tiny")


@pytest.mark.parametrize("source", ["https://huggingface.co/us/tiny", "hf://us/tiny"])
def test_an_address_is_called_one(source):
    refused(source, "is a URL: give owner/name")


@pytest.mark.parametrize("part", ["text_encoder/config.json", "tokenizer/tokenizer_config.json"])
def test_code_of_a_folder_is_neither_run_nor_asked_about(folder, part, monkeypatch, tmp_path):
    def ask(question):
        raise AssertionError(f"the user was asked: {question}")

    monkeypatch.setattr(builtins, "input", ask)
    path = folder / part
    kind = "AutoModel" if "encoder" in part else "AutoTokenizer"
    document = json.loads(path.read_text()) | {"auto_map": {kind: "evil.Evil"}}
    path.write_text(json.dumps(document))
    ran = tmp_path / "ran"
    (path.parent / "evil.py").write_text(f"open({str(ran)!r}, 'w')")
    index = json.loads((folder / "model_index.json").read_text())
    index[path.parent.name] = ["transformers", kind]
    (folder / "model_index.json").write_text(json.dumps(index))
    refused(folder, r"asks to run code of its own folder \(auto_map\)")
    assert not ran.exists()


def test_advice_to_load_unsafely_is_not_passed_on(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"x": Bomb()}, tmp_path / "bomb.bin")
    warnings = []
    with pytest.raises(Exception) as caught:
        torch.load(tmp_path / "bomb.bin", weights_only=True)
    assert "arbitrary code execution" in str(caught.value), "torch gives the advice"
    warnings.append(cause(caught.value))
    (folder / UNET).unlink()
    shutil.copy(tmp_path / "bomb.bin", folder / "unet" / "diffusion_pytorch_model.bin")
    warnings.append(refused(folder, "cannot be loaded"))
    for text in warnings:
        assert "Weights only load failed" in text or "UnpicklingError" in text or "OSError" in text
        assert not re.search("weights_only|arbitrary|re-running|trust", text, re.IGNORECASE), text


def test_a_lora_of_the_hub_is_loaded_with_its_settings(server, folder, loaded, tmp_path, home):
    from peft import LoraConfig, get_peft_model

    unet = load(folder, device="cpu").diffusers.unet
    adapted = get_peft_model(unet, LoraConfig(r=2, lora_alpha=4, target_modules=["to_q"]))
    for name, tensor in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(tensor)
    adapted.save_pretrained(tmp_path / "peft")
    files = {path.name: path.read_bytes() for path in (tmp_path / "peft").iterdir()}
    server("us/lora", "1" * 40, **files)
    worn = [
        load(folder, device="cpu", tuned=lora)
        for lora in ("us/lora", "us/lora@" + "1" * 40, "us/lora:adapter_model.safetensors")
    ]
    for pipeline in worn:
        assert "1" * 40 in str(pipeline.tuned)
        config = next(iter(pipeline.diffusers.unet.peft_config.values()))
        assert (config.r, config.lora_alpha) == (2, 4)
    pins = json.loads((home / "hf" / "rewardkit" / "weights.json").read_text())
    assert pins["lora us/lora"]["file"] == "adapter_model.safetensors"
    refused(
        folder,
        r"us/none is not a path .* and cannot be downloaded from the hub: .*Give a path",
        tuned="us/none",
    )


def test_a_network_in_half_is_found_damaged_too(tmp_path):
    folder = tiny_pipelines.saved("sd3", tmp_path, torch.float16)
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state[min(state)].view(-1)[0] = torch.inf
    save_file(state, file, metadata={"format": "pt"})
    refused(folder, "transformer holds NaN or infinity in 1 of", dtype="bfloat16")
