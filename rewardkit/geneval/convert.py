"""Converts the detector's mmdet 2.x checkpoint to a file that transformers' Mask2Former loads.

Tensors get the names of the Hub's files and are regrouped where the two libraries differ: mmdet
stores queries, keys and values in one matrix, and orders the inputs of patch merging by channel,
then by position.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.errors import InputError, WeightsError
from rewardkit.records.provenance import sha256_file
from rewardkit.records.storage import atomic_write
from rewardkit.weights.checkpoint import read_state_dict
from rewardkit.weights.hub import made_path
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

URL = (
    "https://download.openmmlab.com/mmdetection/v2.0/mask2former/"
    "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco/"
    "mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco_20220504_001756-743b7d99.pth"
)
# OpenMMLab appends the first digits of the sha256 to the name of a file.
SHA256 = "743b7d99"
_HOW = f"download {URL} and run: rewardkit bench convert-geneval-detector FILE.pth"
CONVERTED = PinnedFile(
    name="geneval.detector",
    repo=URL,
    host="made",
    files=("geneval.detector.safetensors",),
    made_by=_HOW,
    licence="Apache-2.0",
)
# Metadata key of a converted file with the sha256 of its source.
_SOURCE = "source_sha256"

_BACKBONE = "model.pixel_level_module.encoder"
_PIXEL_DECODER = "model.pixel_level_module.decoder"
_DECODER = "model.transformer_module"
# Modules that differ only in name: prefix in mmdet, prefix on the Hub, then the rest of the name in
# mmdet and on the Hub, for all tensors of a module.
_SAME: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    (
        r"backbone\.",
        f"{_BACKBONE}.",
        {
            "patch_embed.projection": "embeddings.patch_embeddings.projection",
            "patch_embed.norm": "embeddings.norm",
            **{f"norm{i}": f"hidden_states_norms.stage{i + 1}" for i in range(4)},
        },
    ),
    (
        r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.",
        rf"{_BACKBONE}.encoder.layers.\1.blocks.\2.",
        {
            "norm1": "layernorm_before",
            "attn.w_msa.relative_position_bias_table": (
                "attention.self.relative_position_bias_table"
            ),
            "attn.w_msa.relative_position_index": "attention.self.relative_position_index",
            "attn.w_msa.proj": "attention.output.dense",
            "norm2": "layernorm_after",
            "ffn.layers.0.0": "intermediate.dense",
            "ffn.layers.1": "output.dense",
        },
    ),
    (
        r"panoptic_head\.pixel_decoder\.",
        f"{_PIXEL_DECODER}.",
        {
            **{f"input_convs.{i}.conv": f"input_projections.{i}.0" for i in range(3)},
            **{f"input_convs.{i}.gn": f"input_projections.{i}.1" for i in range(3)},
            "level_encoding.weight": "level_embed",
            "lateral_convs.0.conv": "adapter_1.0",
            "lateral_convs.0.gn": "adapter_1.1",
            "output_convs.0.conv": "layer_1.0",
            "output_convs.0.gn": "layer_1.1",
            "mask_feature": "mask_projection",
        },
    ),
    (
        r"panoptic_head\.pixel_decoder\.encoder\.layers\.(\d+)\.",
        rf"{_PIXEL_DECODER}.encoder.layers.\1.",
        {
            "attentions.0": "self_attn",
            "norms.0": "self_attn_layer_norm",
            "ffns.0.layers.0.0": "fc1",
            "ffns.0.layers.1": "fc2",
            "norms.1": "final_layer_norm",
        },
    ),
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.",
        rf"{_DECODER}.decoder.layers.\1.",
        {
            "attentions.0.attn": "cross_attn",
            "norms.0": "cross_attn_layer_norm",
            "attentions.1.attn.out_proj": "self_attn.out_proj",
            "norms.1": "self_attn_layer_norm",
            "ffns.0.layers.0.0": "fc1",
            "ffns.0.layers.1": "fc2",
            "norms.2": "final_layer_norm",
        },
    ),
    (
        r"panoptic_head\.",
        f"{_DECODER}.",
        {
            "transformer_decoder.post_norm": "decoder.layernorm",
            "query_embed": "queries_embedder",
            "query_feat": "queries_features",
            "level_embed": "level_embed",
            # In mmdet, the numbers in between belong to activations.
            **{
                f"mask_embed.{2 * i}": f"decoder.mask_predictor.mask_embedder.{i}.0"
                for i in range(3)
            },
        },
    ),
    (r"panoptic_head\.", "", {"cls_embed": "class_predictor"}),
)
# Queries, keys and values in one matrix, in this order.
_FUSED = (
    (
        r"backbone\.stages\.(\d+)\.blocks\.(\d+)\.attn\.w_msa\.qkv\.(weight|bias)",
        rf"{_BACKBONE}.encoder.layers.\1.blocks.\2.attention.self.{{}}.\3",
        ("query", "key", "value"),
    ),
    (
        r"panoptic_head\.transformer_decoder\.layers\.(\d+)\.attentions\.1\.attn\.in_proj_(weight|bias)",
        rf"{_DECODER}.decoder.layers.\1.self_attn.{{}}.\2",
        ("q_proj", "k_proj", "v_proj"),
    ),
)
_MERGING = re.compile(r"backbone\.stages\.(\d+)\.downsample\.(norm|reduction)\.(weight|bias)")


def convert(path: Path, out: Path | None = None) -> Path:
    """Convert GenEval's detector to the layout of transformers.

    Args:
        path: the mmdet checkpoint, as downloaded from `URL`.
        out: file to write; by default the file that the rewards read.

    Returns:
        The written file.

    Raises:
        InputError: the file does not exist, or is a different file.
        WeightsError: the file cannot be read, or does not match the network.
    """
    from safetensors.torch import save_file

    from rewardkit.geneval import network

    if not path.is_file():
        raise InputError(f"there is no file {path}: {_HOW}")
    sha256 = sha256_file(path)
    if not sha256.startswith(SHA256):
        raise InputError(
            f"{path} is not GenEval's detector: its sha256 is {sha256[:12]}…, and that of {URL} "
            f"begins with {SHA256}. Checkpoints of mmdet 3.x are not accepted"
        )
    state = to_hub(read_state_dict(path))
    network.from_hub(state, network.config())  # raises before anything is written
    out = made_path(CONVERTED) if out is None else out
    with atomic_write(out) as temporary:
        tensors = {name: tensor.contiguous() for name, tensor in state.items()}
        save_file(tensors, temporary, metadata={_SOURCE: sha256})
    return out


def check_converted(path: Path) -> None:
    """Check that `convert` wrote these weights; with others, the scores would not be GenEval's.

    Raises:
        WeightsError: it did not; the message says how to convert them.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            source = (file.metadata() or {}).get(_SOURCE, "")
    except (SafetensorError, OSError):
        source = ""
    if not source.startswith(SHA256):
        raise WeightsError(
            f"{path} is not GenEval's converted detector: {_HOW}. To use Meta's weights of the "
            "same network, use the rewards geneval-hf"
        )


def to_hub(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of mmdet's `Mask2Former` with a Swin backbone, named as in the Hub's files.

    Raises:
        WeightsError: a tensor does not belong to that network.
    """
    converted: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        parts = dict(_parts(name, tensor))
        if not parts:
            raise WeightsError(
                f"{name} is not a tensor of mmdet's Mask2Former with a Swin backbone"
            )
        converted |= parts
    return converted


def _parts(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """The converted tensors of one tensor."""
    for pattern, hub, parts in _FUSED:
        if match := re.fullmatch(pattern, name):
            for part, piece in zip(parts, tensor.chunk(3), strict=True):
                yield match.expand(hub).format(part), piece
            return
    if match := _MERGING.fullmatch(name):
        # [..., channel, row, column] -> [..., column, row, channel]
        places = tensor.reshape(*tensor.shape[:-1], -1, 2, 2).transpose(-1, -3).flatten(-3)
        yield match.expand(rf"{_BACKBONE}.encoder.layers.\1.downsample.\2.\3"), places
        return
    for beginning, hub, names in _SAME:
        if match := re.match(beginning, name):
            rest = name[match.end() :]
            for theirs, ours in names.items():
                if rest == theirs or rest.startswith(theirs + "."):
                    yield match.expand(hub) + ours + rest.removeprefix(theirs), tensor
