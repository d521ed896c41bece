"""A CLIP tokenizer for the vocabulary of the shapes prompts.

It is CLIP's byte-pair encoding with merges that join each word of the grammar into one token. Other
words are split into letters, as CLIP does with unknown words.
"""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.shapes.prompts import TASKS, prompts

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
# The longest prompt has eight words: "a red ring left of a blue cross".
MAX_LENGTH = 12


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the two files of the tokenizer to `folder` and return it."""
    from transformers import CLIPTokenizer

    words = sorted(
        {
            word
            for split in ("train", "held-out")
            for task in TASKS
            for prompt in prompts(split)[task]
            for word in re.findall(r"[a-z]+", prompt)
        }
    )
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
    return CLIPTokenizer.from_pretrained(folder, model_max_length=MAX_LENGTH)
