"""The names that CLIP's tensors have in transformers' `CLIPModel` and in open_clip's `CLIP`.

Both libraries hold the same numbers. open_clip keeps OpenAI's names, the projections transposed,
and queries, keys and values of a layer in one matrix.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

from rewardkit.errors import WeightsError

_NAMES = {
    "logit_scale": "logit_scale",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    # pre_layrnorm is transformers' own spelling.
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
}
_TRANSPOSED = {
    "text_projection.weight": "text_projection",
    "visual_projection.weight": "visual.proj",
}
_TOWERS = {
    "text_model": "transformer.resblocks",
    "vision_model": "visual.transformer.resblocks",
}
_PARTS = {
    "self_attn.out_proj": "attn.out_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
_LAYER = re.compile(r"(\w+)\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_QUERY = "self_attn.q_proj"
# Buffers of transformers before 4.31: 0, 1, 2, ...
_POSITIONS = re.compile(r"(text|vision)_model\.embeddings\.position_ids")


def from_transformers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict of a transformers `CLIPModel` under open_clip's names.

    Raises:
        WeightsError: a tensor that such a model does not have, or a query without key and value.
    """
    renamed: dict[str, torch.Tensor] = {}
    left = dict(state)
    for key, tensor in state.items():
        if key in _NAMES:
            renamed[_NAMES[key]] = left.pop(key)
        elif key in _TRANSPOSED:
            renamed[_TRANSPOSED[key]] = left.pop(key).T
        elif _POSITIONS.fullmatch(key) and _counts_up(tensor):
            del left[key]
        elif (layer := _LAYER.fullmatch(key)) and layer[1] in _TOWERS:
            tower, number, part, kind = layer.groups()
            prefix = f"{_TOWERS[tower]}.{number}"
            if part in _PARTS:
                renamed[f"{prefix}.{_PARTS[part]}.{kind}"] = left.pop(key)
            elif part == _QUERY:
                trio = [key.replace(_QUERY, f"self_attn.{p}_proj") for p in "qkv"]
                if all(name in left for name in trio):
                    together = torch.cat([left.pop(name) for name in trio])
                    renamed[f"{prefix}.attn.in_proj_{kind}"] = together
    if left:
        raise WeightsError(
            f"these weights are not those of a transformers CLIPModel: {len(left)} tensors do not "
            f"belong there ({', '.join(sorted(left)[:5])}{', …' if len(left) > 5 else ''}). Give "
            "the model.safetensors or pytorch_model.bin that save_pretrained wrote"
        )
    return renamed


def _counts_up(positions: torch.Tensor) -> bool:
    return torch.equal(positions.flatten(), torch.arange(positions.numel()))
