"""A CLIP without a card is scored as its own library does, and its card says where it is from."""

import json
import shutil

import huggingface_hub.constants
import open_clip
import pytest
import torch
from click.testing import CliRunner
from clip_folders import saved
from golden.clip import tiny
from open_clip.transform import PreprocessCfg, image_transform_v2
from pictures import picture
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import CLIPImageProcessorPil

import rewardkit
from grpo.places import code
from rewardkit.cli import main
from rewardkit.engine.preprocess import CenterCrop, Resize
from rewardkit.engine.registry import entry, list_rewards, resolve
from rewardkit.engine.spec import parse
from rewardkit.errors import UsageError, WeightsError
from rewardkit.weights.hub import recorded
from rewardkit.weights.pull import pull

pytestmark = pytest.mark.usefixtures("home")
MEDIA = [picture(seed, 45, 60) for seed in range(3)]
PROMPTS = ["a red ring", "a blue cross left of a ring", "two rings"]


def images():
    return [Image.fromarray(medium.permute(1, 2, 0).numpy()) for medium in MEDIA]


@pytest.fixture
def theirs(tmp_path):
    """A folder of transformers, and its scores by transformers."""
    folder = tmp_path / "own" / "model"
    model, words = saved(folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size=32, resample=3)
    processor.save_pretrained(folder)
    inputs = words(PROMPTS, padding="max_length", max_length=12, return_tensors="pt")
    pixels = processor(images(), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        seen = model(input_ids=inputs.input_ids, pixel_values=pixels)
    shutil.rmtree(folder / "words", ignore_errors=True)
    return folder, (seen.image_embeds * seen.text_embeds).sum(-1)


@pytest.fixture
def opened(tmp_path):
    """A folder of open_clip, and its scores by open_clip."""
    folder = tmp_path / "open"
    folder.mkdir()
    config = tiny(64) | {"quick_gelu": True}
    stated = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear"}
    stated |= {"resize_mode": "squash"}
    text = json.dumps({"model_cfg": config, "preprocess_cfg": stated})
    (folder / "open_clip_config.json").write_text(text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(**config).eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    size = config["vision_cfg"]["image_size"]
    transform = image_transform_v2(PreprocessCfg(size=size, **stated), is_train=False)
    with torch.no_grad():
        image = model.encode_image(torch.stack([transform(image) for image in images()]))
        told = model.encode_text(open_clip.get_tokenizer("ViT-B-32")(PROMPTS))
        return folder, (F.normalize(image, dim=-1) * F.normalize(told, dim=-1)).sum(-1)


@pytest.mark.parametrize("library", ["theirs", "opened"])
def test_a_checkpoint_without_a_card_scores_as_its_library_does(library, request):
    folder, expected = request.getfixturevalue(library)
    scores = rewardkit.create(f"clip:{folder}", device="cpu")(MEDIA, PROMPTS)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    assert scores.std() > 1e-3


def publish(server, folder, commit="1" * 40):
    server("us/mine", commit, **{p.name: p.read_bytes() for p in folder.iterdir()})


def test_one_on_the_hub_is_pinned_and_a_machine_without_network_has_it(
    theirs, server, home, monkeypatch
):
    folder, expected = theirs
    publish(server, folder)
    name = "clip:us/mine"
    reward = rewardkit.create(name, device="cpu")
    torch.testing.assert_close(reward(MEDIA, PROMPTS), expected, rtol=0, atol=1e-5)
    card = reward.card
    assert card.name == name and "was made from the checkpoint's own config.json" in card.notes[0]
    (weights,) = card.all_weights
    files = recorded(weights)["files"]
    assert "model.safetensors" in files and weights.revision == "1" * 40
    publish(server, folder, "2" * 40)
    assert entry(name).card == card, "the first commit stays"
    pull(weights, home / "carried")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HOME", str(home / "elsewhere"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "elsewhere/hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"cannot be listed.*put the folder clip--us--mine"):
        entry(name)
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(home / "carried"))
    again = rewardkit.create(name, device="cpu")
    torch.testing.assert_close(again(MEDIA, PROMPTS), expected, rtol=0, atol=1e-5)


def test_its_preprocessing_is_that_of_its_files(theirs, opened):
    steps = entry(f"clip:{theirs[0]}").card.encoder.preprocess
    assert steps[:2] == (Resize(40, "shortest", "bicubic", "pil"), CenterCrop(32, "down"))
    steps = entry(f"clip:{opened[0]}").card.encoder.preprocess
    assert steps[0].side == "squash" and steps[-1].std == (0.25, 0.25, 0.25)


def test_names_print_as_they_were_parsed_and_are_no_files_of_code(theirs, monkeypatch):
    folder, _ = theirs
    monkeypatch.chdir(folder.parent)
    spec = parse("0.5*clip:./model+clip:us/Mine@0.3+sharpness", resolve)
    assert spec.names == ("clip:./model", "clip:us/Mine", "sharpness")
    assert str(parse(str(spec), resolve)) == str(spec)
    assert code(str(spec)) == [] and resolve("CLIP:us/Mine") == "clip:us/Mine"
    assert not any(":" in card.name for card in list_rewards())


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("clip:nowhere", "clip:owner/name on the hub and clip:./folder"),
        ("clip:a/b/c", "clip:owner/name on the hub and clip:./folder"),
        ("clip:./nowhere", "there is no folder './nowhere'"),
        ("clip:", "names no CLIP checkpoint"),
        ("slip:us/mine", r"unknown reward 'slip:us/mine'.*clip:owner/name"),
    ],
)
def test_a_place_where_no_checkpoint_can_be_is_refused(name, what):
    with pytest.raises(UsageError, match=what):
        resolve(name)


@pytest.mark.parametrize(
    ("file", "change", "what"),
    [
        ("config.json", None, "neither open_clip_config.json nor config.json"),
        ("config.json", {"model_type": "siglip"}, "of a 'siglip' model"),
        ("preprocessor_config.json", None, "has no preprocessor_config.json"),
        ("preprocessor_config.json", {"do_resize": False}, "cannot be followed here"),
        ("model.safetensors", None, r"holds no weights: model\.safetensors or"),
        ("tokenizer.json", None, r"no vocab\.json"),
    ],
)
def test_a_checkpoint_that_is_none_is_refused_by_what_it_lacks(theirs, file, change, what):
    folder, _ = theirs
    if change is None:
        (folder / file).unlink()
    else:
        stated = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(stated | change))
    with pytest.raises(WeightsError, match=what):
        rewardkit.create(f"clip:{folder}", device="cpu")


@pytest.mark.parametrize(
    "change", [{"custom_text": True}, {"text_cfg": {"hf_tokenizer_name": "t5"}}]
)
def test_an_open_clip_model_of_another_kind_is_refused(opened, change):
    path = opened[0] / "open_clip_config.json"
    stated = json.loads(path.read_text())
    stated["model_cfg"] |= change
    path.write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match="is of a model that cannot be scored with here"):
        rewardkit.create(f"clip:{opened[0]}", device="cpu")


def test_it_is_scored_shown_and_recorded_as_any_other(theirs, tmp_path):
    folder, expected = theirs
    for index, image in enumerate(images()):
        image.save(tmp_path / f"{index}.png")
        (tmp_path / f"{index}.txt").write_text(PROMPTS[index])
    name = f"clip:{folder}"
    report = rewardkit.score_folder(str(tmp_path / "*.png"), name, device="cpu")
    assert [row.scores[name] for row in report.rows] == pytest.approx(expected.tolist(), abs=1e-5)
    made = report.made_by["rewards"][name]
    assert made[f"sha256 of {name}"] == report.weights[name]["sha256"] and made["preprocess"]
    shown = CliRunner().invoke(main, ["show", name]).stdout
    assert "nobody has checked" in " ".join(shown.split())
