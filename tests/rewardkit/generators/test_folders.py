"""Pipelines are loaded whole or not at all, from a folder or from the hub."""

import json
import shutil

import diffusers.utils.logging
import huggingface_hub
import pytest
import tiny_pipelines
import torch
import transformers.utils.logging
from safetensors.torch import load_file, save_file
from tiny_pipelines import SHORT, levels, pictures

from rewardkit.errors import UsageError, WeightsError
from rewardkit.generators.aliases import ALIASES, Alias
from rewardkit.generators.folders import read
from rewardkit.generators.lora_hub import on_hub
from rewardkit.generators.pipelines import load, place_of

COMMITS = "1" * 40, "2" * 40


@pytest.fixture
def hub(server, folder, monkeypatch):
    """Publishes the folder as us/tiny at a commit, listed as the hub lists a repository."""
    monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", huggingface_hub.constants.ENDPOINT)

    def publish(commit):
        files = {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        server("us/tiny", commit, **files)
        return folder

    return publish


def rewrite_index(folder, **changes):
    file = folder / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_weights_stored_in_half_precision_are_loaded_in_float32(tmp_path):
    folder = tiny_pipelines.saved("sd3", tmp_path, torch.float16)
    stored = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    pipe = load(folder, device="cpu").diffusers
    for part in (pipe.transformer, pipe.vae, pipe.text_encoder, pipe.text_encoder_2):
        assert {tensor.dtype for tensor in part.parameters()} == {torch.float32}
    half = load(folder, device="cpu", dtype="bfloat16").diffusers
    assert half.transformer.dtype == half.text_encoder.dtype == torch.bfloat16


def test_a_safety_checker_is_left_out(folder):
    # Nothing of it is in the folder: were it asked for, loading would fail.
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    rewrite_index(folder, safety_checker=checker, requires_safety_checker=True)
    assert load(folder, device="cpu").diffusers.safety_checker is None


def test_pixels_are_not_watermarked_where_a_library_for_it_is_installed(folders, monkeypatch):
    sdxl = "diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl"
    # It is not installed here, so a pipeline that wants it fails.
    monkeypatch.setattr(f"{sdxl}.is_invisible_watermark_available", lambda: True)
    assert load(folders["sdxl"], device="cpu").diffusers.watermark is None


def test_loading_draws_nothing_and_leaves_the_bars_as_they_were(folders, capsys):
    diffusers.utils.logging.enable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    try:
        load(folders["sd"], device="cpu")
        assert capsys.readouterr() == ("", "")
        assert diffusers.utils.logging.is_progress_bar_enabled()
        assert not transformers.utils.logging.is_progress_bar_enabled()
    finally:
        transformers.utils.logging.enable_progress_bar()


@pytest.mark.parametrize(
    ("file", "tensor"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "conv_in.bias"),
        ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight"),
        ("text_encoder/model.safetensors", "final_layer_norm.bias"),
    ],
)
def test_a_tensor_that_no_file_holds_is_an_error(folder, file, tensor):
    state = load_file(folder / file)
    del state[tensor]
    save_file(state, folder / file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=rf"lacks 1 tensors: .*{tensor.split('.')[-2]}"):
        load(folder, device="cpu")


def test_text_encoders_stored_under_older_names_are_whole(folder, loaded):
    # As in the repositories of 2022: a prefix, and a buffer that no network has today.
    file = folder / "text_encoder" / "model.safetensors"
    state = {f"text_model.{name}": tensor for name, tensor in load_file(file).items()}
    state["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(state, file, metadata={"format": "pt"})
    one, other = (
        pipe.text_encoder.state_dict()
        for pipe in (load(folder, device="cpu").diffusers, loaded["sd"].diffusers)
    )
    assert all(torch.equal(one[name], tensor) for name, tensor in other.items())


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("./nothing", r"there is no folder \./nothing$"),
        ("runs/other", r"there is no folder runs/other\. It is not looked for on the hub, because"),
        ("runs/frist", r"there is no folder runs/frist; there is runs/first\."),
        ("./runs/frist", r"there is no folder \./runs/frist; there is runs/first$"),
        ("/nothing/here", r"there is no folder /nothing/here, nor a folder /nothing$"),
    ],
)
def test_a_path_of_no_folder_is_never_looked_for_on_the_hub(source, why, tmp_path, monkeypatch):
    (tmp_path / "runs" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=why):
        place_of(source)
    assert not on_hub(source)
    with pytest.raises(UsageError, match="there is no run or LoRA"):
        load("shapes-sd", device="cpu", tuned=source)


def test_owner_and_name_of_no_folder_here_are_of_the_hub():
    assert place_of("owner/name") == (None, "owner/name") and on_hub("owner/name")


def test_a_broken_folder_is_an_error(folder, tmp_path):
    with pytest.raises(WeightsError, match=r"it has no model_index\.json"):
        load(folder / "unet")
    with pytest.raises(UsageError, match="there is no folder"):
        load(tmp_path / "nowhere")
    (folder / "scheduler").rename(folder / "elsewhere")
    with pytest.raises(WeightsError, match="lacks its folder scheduler"):
        load(folder)
    (folder / "elsewhere").rename(folder / "scheduler")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load(folder)
    file.unlink()
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load(folder)
    (folder / "model_index.json").write_text("{")
    with pytest.raises(WeightsError, match=r"model_index\.json cannot be read"):
        load(folder)


def test_a_class_no_family_samples_is_refused_with_those_accepted(folder):
    rewrite_index(folder, _class_name="StableDiffusionInpaintPipeline")
    with pytest.raises(UsageError, match=r"StableDiffusionInpaintPipeline.*FluxPipeline"):
        load(folder)


def test_a_lora_is_worn_from_its_folder_or_its_file(folder, lora, loaded):
    file = lora / "pytorch_lora_weights.safetensors"
    worn = [load(folder, device="cpu", tuned=path) for path in (lora, file)]
    assert [pipeline.tuned for pipeline in worn] == [file, file]
    one, other = (pictures(pipeline) for pipeline in worn)
    assert torch.equal(one, other)
    assert levels(one, pictures(loaded["sd"]))[0] > 2


def test_a_lora_that_adds_nothing_is_an_error(folders, lora, tmp_path):
    with pytest.raises(WeightsError, match="is for another model"):
        load(folders["sd3"], device="cpu", tuned=lora)
    with pytest.raises(WeightsError, match=r"holds no LoRA: expected a \.safetensors file"):
        load(folders["sd"], device="cpu", tuned=folders["sd"] / "scheduler")
    with pytest.raises(WeightsError, match="does not fit a StableDiffusionPipeline"):
        unet = folders["sd"] / "unet" / "diffusion_pytorch_model.safetensors"
        load(folders["sd"], device="cpu", tuned=unet)


def test_a_repository_is_downloaded_and_its_commit_reported(hub):
    folder = hub(COMMITS[0])
    (folder / "rewardkit.json").write_text(json.dumps({"protocol": SHORT.model_dump()}))
    hub(COMMITS[1])
    newest = load("us/tiny", device="cpu")
    assert (newest.source, newest.alias, newest.revision) == ("us/tiny", None, COMMITS[1])
    assert newest.protocol == SHORT, "its rewardkit.json came with it"
    older = load("us/tiny", device="cpu", revision=COMMITS[0])
    assert (older.revision, older.protocol.steps) == (COMMITS[0], 50)


def test_an_alias_means_its_pinned_commit_and_its_protocol(hub, monkeypatch):
    hub(COMMITS[0])
    hub(COMMITS[1])
    alias = Alias(
        name="tiny",
        pipeline="StableDiffusionPipeline",
        repo="us/tiny",
        revision=COMMITS[0],
        licence="MIT",
        protocol=SHORT,
    )
    monkeypatch.setitem(ALIASES, "tiny", alias)
    for name in ("Tiny", "us/tiny"):
        pipeline = load(name, device="cpu")
        assert (pipeline.alias, pipeline.revision) == ("tiny", COMMITS[0])
        assert pipeline.protocol == SHORT
    assert load("tiny", device="cpu", revision="main").revision == COMMITS[1]


def test_a_name_has_a_dtype_unless_another_is_asked_for(folders, monkeypatch):
    alias = ALIASES["shapes-sd"].model_copy(update={"name": "tiny", "dtype": "bfloat16"})
    monkeypatch.setitem(ALIASES, "tiny", alias)
    for option, dtype in ((None, "bfloat16"), ("float16", "float16"), ("float32", "float32")):
        pipeline = load("tiny", device="cpu", dtype=option)
        assert pipeline.dtype == pipeline.provenance()["dtype"] == dtype
        assert pipeline.diffusers.unet.dtype == getattr(torch, dtype)
        assert pipeline.diffusers.vae.dtype == torch.float32
        # Pictures that releases before decoded in low precision are not mixed with these.
        assert pipeline.provenance().get("decoded") == (None if dtype == "float32" else "float32")
    assert load(folders["sd"], device="cpu").dtype == "float32"
    # Whatever has T5 or a language model does not fit a common GPU in float32.
    large = {name for name, alias in ALIASES.items() if alias.dtype == "bfloat16"} - {"tiny"}
    assert large == {
        "sd3-medium", "sd3.5-medium", "sd3.5-large", "flux.1-dev", "flux.1-schnell", "qwen-image",
        "z-image", "hunyuanvideo", "skyreels-i2v", "wan2.1-1.3b", "wan2.1-14b", "wan2.2-5b",
    }  # fmt: skip


def test_what_was_downloaded_loads_without_a_network_or_a_word(hub, monkeypatch, caplog):
    hub(COMMITS[0])
    load("us/tiny", device="cpu")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    caplog.clear()
    assert load("us/tiny", device="cpu").revision == COMMITS[0]
    assert caplog.records == []


def test_what_cannot_be_downloaded_says_what_to_do(hub, monkeypatch):
    what = "us/none is not on this machine and could not be downloaded.*give a folder instead"
    with pytest.raises(WeightsError, match=what):
        load("us/none")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=what):
        load("us/none")


def test_of_a_repository_that_cannot_be_sampled_only_the_index_is_fetched(hub, folder, home):
    rewrite_index(folder, _class_name="StableDiffusionInpaintPipeline")
    hub(COMMITS[0])
    with pytest.raises(UsageError, match=r"us/tiny is a StableDiffusionInpaintPipeline"):
        load("us/tiny")
    snapshot = home / "hf" / "hub" / "models--us--tiny" / "snapshots" / COMMITS[0]
    assert [path.name for path in snapshot.iterdir()] == ["model_index.json"]


def test_what_a_run_trained_is_loaded_from_its_folder(folder, lora, loaded, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(lora, run / "model")
    worn = load(folder, device="cpu", tuned=run)
    assert worn.tuned == run / "model" / "pytorch_lora_weights.safetensors"
    assert torch.equal(pictures(worn), pictures(load(folder, device="cpu", tuned=lora)))


def test_a_run_of_all_weights_stands_in_place_of_its_base(folder, folders, loaded, tmp_path):
    run = tmp_path / "run"
    loaded["sd"].diffusers.save_pretrained(run / "model")
    base = {"source": str(folder), "alias": None, "revision": None}
    card = {"base": base, "trained_on": {"reward": "hps.v2.1"}, "protocol": SHORT.model_dump()}
    (run / "model" / "rewardkit.json").write_text(json.dumps(card))
    tuned = load(folder, device="cpu", tuned=run)
    assert (tuned.source, tuned.tuned) == (str(folder), run / "model")
    assert tuned.provenance()["trained_on"] == {"reward": "hps.v2.1"}
    assert tuned.protocol == SHORT
    with pytest.raises(UsageError, match=f"was made of {folder}, not of"):
        load(folders["sd3"], device="cpu", tuned=run)


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("[]", "is not an index of a pipeline"),
        ('{"unet": []}', "a class for each part; unet is"),
        ('{"unet": ["diffusers", null]}', "a class for each part; unet is"),
        ('{"unet": ["diffusers", 7]}', "a class for each part; unet is"),
        ("[" * 100_000, "nested too deep"),
    ],
    ids=lambda text: text[:20],
)
def test_an_index_that_is_none_is_an_error(tmp_path, index, reason):
    (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(WeightsError, match=reason):
        read(tmp_path, torch.float32)
