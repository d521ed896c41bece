"""Parts of pipelines with random weights: tokenizers that spell, text encoders, a UNet, a VAE."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = [letter + end for end in ("", "</w>") for letter in string.ascii_lowercase]
VOCABULARY += [START, END]
# With these, Qwen-Image's system prompt has the 34 tokens that its pipeline drops.
QWEN_WORDS = """
system Describe the image by detailing color shape size texture quantity text spatial relationships
of objects and background user assistant
"""
# With these, HunyuanVideo's has the 95 tokens that its pipeline drops.
LLAMA_WORDS = """
system Describe the video by detailing the following aspects The main content and theme of color
shape size texture quantity text spatial relationships objects Actions events behaviors temporal
physical movement changes background environment light style atmosphere camera angles movements
transitions used in user
"""
LLAMA_SPECIALS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
WIDTH = 16


def tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer that spells: letters, and letters that end a word, 16 tokens in all."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {token: index for index, token in enumerate(VOCABULARY)}
    (folder / "vocab.json").write_text(json.dumps(ids), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def speller(
    words: str = QWEN_WORDS, specials: Sequence[str] = ("<|im_start|>", "<|im_end|>")
) -> PreTrainedTokenizerFast:
    """A tokenizer like Qwen's: the words of its system prompt are tokens, others are spelt."""
    tokens = ["<pad>", "[UNK]", *specials, *map(chr, range(33, 127)), "\n", *words.split()]
    tokens += ["##" + letter for letter in string.ascii_lowercase]
    ids = {token: index for index, token in enumerate(tokens)}
    spelling = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    spelling.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n|[^\w\s]"), "isolated"),
            pre_tokenizers.Split(" ", "removed"),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=spelling,
        pad_token="<pad>",
        unk_token="[UNK]",
        additional_special_tokens=list(specials),
        padding_side="right",
        model_max_length=2048,
        chat_template=(
            "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"
        ),
    )


def qwen(spelling: PreTrainedTokenizerFast) -> dict[str, object]:
    """Sizes of a language model of Qwen's for that tokenizer."""
    return {
        "vocab_size": len(spelling),
        "hidden_size": WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }


def unet(cross_attention_dim: int = WIDTH, **options: object) -> UNet2DConditionModel:
    """A UNet of latents of 8 x 8."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=4,
        norm_num_groups=4,
        **options,
    )


def vae() -> AutoencoderKL:
    """A VAE that makes pictures four times as large as their latents."""
    return AutoencoderKL(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        shift_factor=0.1,
    )


def t5(suffix: str, width: int) -> dict[str, object]:
    """A T5 encoder and its tokenizer, by the names of a pipeline's parts."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_lowercase]
    config = T5Config(vocab_size=32, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return {
        f"text_encoder{suffix}": T5EncoderModel(config),
        f"tokenizer{suffix}": T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0),
    }


def clip(network: type, length: int = 16) -> torch.nn.Module:
    """A text encoder of CLIP, of either class, for texts of up to so many tokens."""
    return network(
        CLIPTextConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=length,
            projection_dim=WIDTH,
            bos_token_id=VOCABULARY.index(START),
            eos_token_id=VOCABULARY.index(END),
            pad_token_id=VOCABULARY.index(END),
        )
    )
