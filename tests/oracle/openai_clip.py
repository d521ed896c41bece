"""OpenAI's own CLIP, from a clone of openai/CLIP, on the weights that `golden.prompted` makes."""

from __future__ import annotations

import sys
from typing import Any

import torch
from golden.clip import tiny
from golden.prompted import fill, layout


def load(clone: str, embed_dim: int) -> tuple[Any, Any, Any]:
    """A small model, its preprocessing and its `tokenize`."""
    sys.path.insert(0, clone)
    import clip
    from clip.model import CLIP

    config = tiny(embed_dim)
    vision, text = config["vision_cfg"], config["text_cfg"]
    sizes = [vision[key] for key in ("image_size", "layers", "width", "patch_size")]
    sizes += [text[key] for key in ("context_length", "vocab_size", "width", "heads", "layers")]
    model = CLIP(embed_dim, *sizes)
    model.load_state_dict(fill(model.state_dict()))
    return model.eval(), clip.clip._transform(vision["image_size"]), clip.tokenize


def published_layout() -> str:
    """The names and shapes of ViT-B/32; after `load`."""
    from clip.model import CLIP

    with torch.device("meta"):
        return layout(CLIP(512, 224, 12, 768, 32, 77, 49408, 512, 8, 12).state_dict())
