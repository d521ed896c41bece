"""A checkpoint of the published size and layout loads strictly and scores a clip, on the CPU."""

import json
import math
import tempfile
import time
from pathlib import Path

import pytest
import torch
from golden.media import clip
from golden.videoalign import PUBLISHED, ROWS, STEP, upstream_names, write_settings
from transformers import Qwen2VLConfig, Qwen2VLModel

from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.rewards import videoalign
from rewardkit.weights.nets.qwen2_vl_tiny import tiny_tokenizer

LENGTH = 5_031_072_529  # bytes of the published model.pth
RANK = 64


def write_base(folder):
    """The published config, and a tokenizer whose special tokens have the published ids."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2_vl", **PUBLISHED}))
    tokenizer = tiny_tokenizer(videoalign.template(), words=151_643)
    assert tokenizer.convert_tokens_to_ids("<|video_pad|>") == 151_656
    tokenizer.save_pretrained(folder)


def write_weights(folder):
    """Random tensors of the published names and shapes in bfloat16."""
    config = Qwen2VLConfig(**PUBLISHED)
    config.text_config.vocab_size = ROWS
    with torch.device("meta"):
        shapes = {name: list(v.shape) for name, v in Qwen2VLModel(config).state_dict().items()}
    numbers = torch.randn(2**24, generator=torch.Generator().manual_seed(0)).bfloat16()
    state = {}
    for name, shape in upstream_names(shapes, RANK).items():
        # Scaled before they are repeated: five billion bytes are copied, and not computed with.
        scale = 0.1 if len(shape) == 1 else math.prod(shape[1:]) ** -0.5
        size, norm = math.prod(shape), len(shape) == 1 and name.endswith("weight")
        values = numbers[:size] * scale + norm
        state[name] = values.repeat(-(-size // len(values)))[:size].clone().view(shape)
    state["base_model.model.lm_head.weight"] = state[
        "base_model.model.model.embed_tokens.weight"
    ].clone()
    (folder / STEP).mkdir(parents=True)
    torch.save(state, folder / STEP / "model.pth")
    write_settings(folder, "Qwen/Qwen2-VL-2B-Instruct", lora_r=RANK, lora_alpha=2 * RANK)
    return folder / STEP / "model.pth"


@pytest.fixture
def folder():
    """One that is deleted at once: pytest keeps those of its last runs."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.slow
def test_a_checkpoint_of_the_published_size_loads_and_scores_a_clip(folder, capsys):
    write_base(folder / "base")
    file = write_weights(folder / "checkpoint")
    assert abs(file.stat().st_size - LENGTH) < 2**18, "the entries' names and places differ a bit"
    weights = {"videoalign.v1": folder / "checkpoint", "qwen2-vl-2b": folder / "base"}
    card = entry("videoalign.overall").card
    start = time.perf_counter()
    reward = entry(card.name).cls.load(card, Loader("cpu", "bfloat16", weights=weights))
    loaded = time.perf_counter()
    (score,) = LoadedReward(reward)([clip(1, (256, 392), 2, 8.0)], ["a cat"]).tolist()
    done = time.perf_counter()
    assert math.isfinite(score)
    with capsys.disabled():
        print(f" {loaded - start:.0f} s to load, {done - loaded:.0f} s to score")
