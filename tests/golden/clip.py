"""The small CLIP and the pictures that goldens of CLIP's rewards are made with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from golden.prompted import PromptedCase, sample
from pictures import PROMPTS, picture, twelve

# transformers and open_clip cut it into different tokens.
CURLY = "Don\u2019t \u201cquote\u201d caf\u00e9 &amp; bar"
_END_OF_TEXT = 49407


@functools.cache
def media() -> tuple[torch.Tensor, ...]:
    """The twelve pictures, and one of whose width 4k + 3 pixels are cut away."""
    return (*twelve(), picture(12, 128, 130))


def texts() -> list[str]:
    """A prompt for each of `media`."""
    return [*(PROMPTS[index % len(PROMPTS)] for index in range(12)), CURLY]


def tiny(embed_dim: int) -> dict[str, Any]:
    """The arguments of the small CLIP, as open_clip and hpsv2 name them."""
    vision = {"image_size": 224, "layers": 2, "width": 128, "head_width": 64, "patch_size": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
    return {"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": text}


def tiny_transformers(projection_dim: int, activation: str) -> dict[str, Any]:
    """The arguments of transformers' CLIPConfig for the same."""
    shared = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": activation}
    shared |= {"projection_dim": projection_dim}
    vision = {"hidden_size": 128, "intermediate_size": 512, "image_size": 224, "patch_size": 32}
    text = {"hidden_size": 64, "intermediate_size": 256}
    return {
        "projection_dim": projection_dim,
        "vision_config": shared | vision,
        "text_config": shared | text,
    }


# The sizes of ViT-H-14, for the names and shapes of a checkpoint.
LARGE_TRANSFORMERS = {
    "projection_dim": 1024,
    "vision_config": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
    "text_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
}


def cases(
    pictures: Iterable[torch.Tensor],
    prompts: Iterable[str],
    pixels: Callable[[torch.Tensor], torch.Tensor],
    ids: Callable[[str], Iterable[int]],
    score: Callable[[torch.Tensor, str], float],
) -> list[PromptedCase]:
    """One case per picture, with its prompt, by upstream's functions.

    Where the pictures are `media` more than once, the number of a picture stays.
    """
    return [
        PromptedCase(
            picture=index % len(media()),
            prompt=prompt,
            ids=until_end(ids(prompt)),
            pixels=sample(pixels(image)),
            score=score(image, prompt),
        )
        for index, (image, prompt) in enumerate(zip(pictures, prompts, strict=False))
    ]


def until_end(ids: Iterable[int]) -> list[int]:
    """Token ids up to the first end of text: what pads them differs, and no score sees it."""
    ids = list(ids)
    return ids[: ids.index(_END_OF_TEXT) + 1] if ids else []
