"""A Qwen2-VL for tests: its real classes, small, with a vocabulary that a text makes.

Both are given as the files of a published model hold them, so that another version of transformers
can read them too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Qwen2Tokenizer

#: The special tokens of Qwen2-VL, in the order of their ids.
SPECIAL = tuple(
    f"<|{name}|>"
    for name in (
        *("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end"),
        *("box_start", "box_end", "quad_start", "quad_end"),
        *("vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"),
    )
)


def tiny_words(text: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Ids and merges of a byte-level vocabulary in which most words of `text` are one token.

    Any other text is cut into parts of these words, at worst into bytes.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    text = re.sub(r"<\|\w+\|>", "", text)  # special tokens are no words
    tokens = dict.fromkeys(sorted(ByteLevel.alphabet()))
    merges = []
    for word, _ in ByteLevel(add_prefix_space=False).pre_tokenize_str(text):
        for end in range(1, len(word)):
            if word[: end + 1] not in tokens:
                tokens[word[: end + 1]] = None
                merges.append((word[:end], word[end]))
    return {token: index for index, token in enumerate(tokens)}, merges


def tiny_tokenizer(text: str, words: int | None = None) -> Qwen2Tokenizer:
    """The tokenizer of `tiny_words(text)` and the special tokens.

    Args:
        text: what the words are of.
        words: number of tokens before the special ones; words that no text holds make them up.
    """
    from transformers import AddedToken, Qwen2Tokenizer

    vocab, merges = tiny_words(text)
    vocab |= {f"unused {index}": index for index in range(len(vocab), words or 0)}
    # Annotated as lines; what reads them takes pairs.
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges)  # type: ignore[arg-type]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


def tiny_settings(words: int) -> dict[str, Any]:
    """The config.json of a network of two layers.

    Args:
        words: number of tokens before the special ones.
    """
    ids = {token: words + index for index, token in enumerate(SPECIAL)}
    return {
        "model_type": "qwen2_vl",
        "vocab_size": words + len(SPECIAL) + 64,  # published ones have rows to spare, too
        "hidden_size": 32,
        # A checkpoint overwrites it; with the default 0.02 a small random network hardly sees.
        "initializer_range": 32**-0.5,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
        "tie_word_embeddings": True,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_config": {
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "initializer_range": 32**-0.5,
            "num_heads": 2,
            "mlp_ratio": 2,
        },
    }
