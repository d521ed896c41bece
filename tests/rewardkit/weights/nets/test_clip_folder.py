"""A folder that transformers saved scores as with transformers, or is refused by what it lacks."""

import json
import shutil

import open_clip
import pytest
import torch
from clip_folders import TEXTS, saved, tokens
from torch.nn import functional as F
from transformers import CLIPModel

from rewardkit.errors import WeightsError
from rewardkit.weights.checkpoint import load_strict
from rewardkit.weights.nets.clip_folder import read_folder
from rewardkit.weights.nets.clip_layout import from_transformers


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hidden_act": "quick_gelu"},
        {"layer_norm_eps": 0.1},
        {"intermediate_size": 101},  # in floats 101 / 49 * 49 is less than 101
    ],
    ids=str,
)
def test_the_network_and_the_tokens_are_transformers(tmp_path, changes):
    model, words = saved(tmp_path, **changes)
    config, tokenize = read_folder(tmp_path)
    ours = open_clip.CLIP(**config).eval()
    load_strict(ours, from_transformers(model.state_dict()))

    ids = tokenize(TEXTS)
    assert torch.equal(ids, tokens(words, TEXTS)) and ids.shape == (len(TEXTS), 12)
    assert (ids[4, -1], ids[5, 1]) == (141, 141), "cut and empty texts have an end"
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels)
        image = F.normalize(ours.encode_image(pixels), dim=-1)
        text = F.normalize(ours.encode_text(ids), dim=-1)
    torch.testing.assert_close(image, expected.image_embeds, rtol=0, atol=1e-5)
    torch.testing.assert_close(text, expected.text_embeds, rtol=0, atol=1e-5)


def test_a_config_of_an_old_version_pools_at_the_largest_id_too(tmp_path):
    saved(tmp_path)
    change(tmp_path, "text_config", "eos_token_id", 2)
    model = CLIPModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    config, tokenize = read_folder(tmp_path)
    ours = open_clip.CLIP(**config).eval()
    load_strict(ours, from_transformers(model.state_dict()))
    ids = tokenize(TEXTS)
    with torch.no_grad():
        expected = model.get_text_features(ids).pooler_output
        torch.testing.assert_close(ours.encode_text(ids), expected, rtol=0, atol=1e-5)


def change(folder, part, field, value):
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    (config[part] if part else config)[field] = value
    path.write_text(json.dumps(config), "utf-8")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda f: (f / "config.json").unlink(), r"no config\.json.*whole folder"),
        (lambda f: (f / "config.json").write_text("{"), "no config of transformers"),
        (lambda f: change(f, None, "model_type", "siglip"), "of a 'siglip' model"),
        (lambda f: change(f, None, "projection_dim", "wide"), "no config of transformers"),
        (lambda f: change(f, "text_config", "hidden_act", "relu"), r"relu \(text\).*gelu"),
        (lambda f: change(f, "vision_config", "hidden_act", "quick_gelu"), "the same for both"),
        (lambda f: change(f, "text_config", "eos_token_id", 7), "ends with 141.*and 7 in config"),
        (lambda f: change(f, "text_config", "vocab_size", 200), "last token.*199"),
        (lambda f: (f / "tokenizer.json").unlink(), r"no vocab\.json"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "no tokenizer of CLIP"),
    ],
    ids=[
        "no config",
        "no JSON",
        "another model",
        "a field of another type",
        "activation",
        "two activations",
        "end token of the config",
        "end token of the tokenizer",
        "no tokenizer",
        "a broken tokenizer",
    ],
)
def test_a_folder_that_cannot_be_read_rightly_is_refused(tmp_path, damage, what):
    saved(tmp_path)
    damage(tmp_path)
    with pytest.raises(WeightsError, match=what):
        read_folder(tmp_path)


def test_a_vocabulary_and_its_merges_do_for_a_tokenizer(tmp_path):
    saved(tmp_path)
    _, tokenize = read_folder(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    for file in ("vocab.json", "merges.txt"):
        with pytest.raises(WeightsError, match=f"no {file}"):
            read_folder(tmp_path)
        shutil.copy(tmp_path / "words" / file, tmp_path / file)
    _, again = read_folder(tmp_path)
    assert torch.equal(tokenize(TEXTS), again(TEXTS))
