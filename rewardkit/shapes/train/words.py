"""Tokenizers for the vocabulary of the shapes prompts.

That of CLIP is its byte-pair encoding with merges that join each word of the grammar into one
token. Other words are split into letters, as CLIP does with unknown words. That of Llama takes
whole words.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.shapes.prompts import TASKS, Split, prompts

if TYPE_CHECKING:
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast

START, END = "<|startoftext|>", "<|endoftext|>"
# The longest prompt has eight words: "a red ring left of a blue cross".
MAX_LENGTH = 12


def tokenizer(
    folder: Path, texts: Iterable[str] | None = None, length: int = MAX_LENGTH
) -> CLIPTokenizer:
    """Write the two files of CLIP's tokenizer to `folder` and return it.

    Args:
        folder: where its files are written.
        texts: what its words are from; by default the prompts of images.
        length: maximum number of tokens.
    """
    from transformers import CLIPTokenizer

    words = _words(texts)
    vocabulary = [letter + end for end in ("", "</w>") for letter in string.ascii_lowercase]
    merges: list[str] = []
    for word in words:
        # Letters are joined from the end: only one piece of a word carries the end marker, so
        # merges of other words cannot interfere.
        joined = word[-1] + "</w>"
        for letter in reversed(word[:-1]):
            merge, joined = f"{letter} {joined}", letter + joined
            if merge not in merges:
                merges.append(merge)
                vocabulary.append(joined)
    # The end token comes last: CLIPTextModel pools at the largest id, or at the end token's id.
    vocabulary += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "vocab.json", folder / "merges.txt"
    files[0].write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}), "utf-8")
    files[1].write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=length)


def llama_tokenizer(
    texts: Iterable[str], template: str, crop: int, length: int = MAX_LENGTH
) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words that takes the text before a prompt as `crop` tokens.

    HunyuanVideo puts each prompt into a template and drops the first 95 embeddings, as many as the
    template has tokens for Llama's tokenizer.

    Args:
        texts: what its words are from.
        template: the text around a prompt, which stands at "{}".
        crop: number of tokens for the text before the prompt.
        length: maximum number of tokens of a prompt with the text after it.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    before, after = template.split("{}")
    vocabulary = ["pad", "unknown", "instruction", "end", *_words(texts)]
    tokens = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="unknown")
    )
    tokens.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(before, "instruction " * crop),
            normalizers.Replace(after, " end"),
            normalizers.Lowercase(),
        ]
    )
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        pad_token="pad",
        unk_token="unknown",
        padding_side="right",
        model_max_length=crop + length,
    )


def _words(texts: Iterable[str] | None) -> list[str]:
    """The words of some texts, in alphabetical order."""
    if texts is None:
        splits: tuple[Split, ...] = ("train", "held-out")
        texts = [prompt for split in splits for task in TASKS for prompt in prompts(split)[task]]
    return sorted({word for text in texts for word in re.findall(r"[a-z]+", text)})
