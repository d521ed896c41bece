"""A local folder with a small CLIPModel and its processor, as `from_pretrained` reads it."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

from golden.clip import tiny_transformers
from golden.prompted import fill
from transformers import CLIPConfig, CLIPModel


def folder(clip_clone: str, projection_dim: int, activation: str) -> Path:
    """The folder; the vocabulary is that of a clone of openai/CLIP."""
    path = Path(tempfile.mkdtemp())
    model = CLIPModel(CLIPConfig(**tiny_transformers(projection_dim, activation)))
    model.load_state_dict(fill(model.state_dict()))
    model.save_pretrained(path)
    merges = _merges(Path(clip_clone, "clip/bpe_simple_vocab_16e6.txt.gz"))
    letters = _letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += [merge.replace(" ", "") for merge in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    special = {"bos_token": "<|startoftext|>"} | dict.fromkeys(
        ("eos_token", "unk_token", "pad_token"), "<|endoftext|>"
    )
    tokenizer = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    (path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    # Those of openai/clip-vit-* and of laion/CLIP-ViT-H-14-laion2B-s32B-b79K.
    processor = {
        "crop_size": 224,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_processor_type": "CLIPImageProcessor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": 224,
    }
    (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


def _merges(vocabulary: Path) -> list[str]:
    # The file holds more than CLIP uses: 49152 tokens less 256 bytes and the two special ones.
    return gzip.decompress(vocabulary.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]


def _letters() -> list[str]:
    """The 256 bytes as printable characters, in the order of OpenAI's table."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [*map(chr, printable), *(chr(256 + index) for index in range(len(others)))]
