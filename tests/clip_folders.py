"""A small random CLIP as transformers saves it, with the vocabulary of the shapes prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from rewardkit.shapes.train.words import MAX_LENGTH, tokenizer

# What it knows, in odd spaces and capitals, what it spells, what it does not know, and too much.
TEXTS = [
    "a red ring left of a blue cross",
    "  A\tRING\n",
    "rings of caf\u00e9",
    "three rings, four crosses",
    "ring " * 40,
    "",
]


def saved(folder: Path, **changes: Any) -> tuple[CLIPModel, CLIPTokenizer]:
    """Saves it to `folder`; `changes` are to the configs of both towers."""
    words = tokenizer(folder / "words")
    both = {"intermediate_size": 100, "num_hidden_layers": 2, "hidden_act": "gelu"} | changes
    text = {"hidden_size": 32, "num_attention_heads": 4, "vocab_size": len(words)}
    text |= {"max_position_embeddings": MAX_LENGTH, "eos_token_id": words.eos_token_id}
    text |= {"bos_token_id": words.bos_token_id, "pad_token_id": words.pad_token_id}
    vision = {"hidden_size": 49, "num_attention_heads": 7, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(projection_dim=24, text_config=text | both, vision_config=vision | both)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIPModel(config).eval()
        for tensor in model.parameters():  # layer norms and biases would be ones and zeros
            tensor.data.add_(0.1 * torch.randn_like(tensor))
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return model, words


def tokens(words: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """The tokens of `texts`, by transformers."""
    return words(
        texts, padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids
