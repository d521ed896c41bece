"""The detector's network: transformers' Mask2Former with Swin-S and COCO's 80 classes.

It gives the results of mmdet's `mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco`, without mmcv's
compiled attention, which can be built wrongly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from rewardkit.errors import WeightsError, describe
from rewardkit.geneval.names import CLASSES
from rewardkit.weights.checkpoint import check_finite, read_state_dict
from rewardkit.weights.quiet import quiet

# Tensors that detections do not depend on: the weights of the training loss, a norm that the
# backbone does not apply, and indices that newer versions of transformers compute themselves.
_MAY_LACK = ("criterion.empty_weight", "swin.layernorm.weight", "swin.layernorm.bias")
_MAY_HOLD = ("criterion.empty_weight", "relative_position_index")


def config(**sizes: Any) -> Mask2FormerConfig:
    """The published configuration; `sizes` override it, and `swin` that of the backbone."""
    swin = {
        "embed_dim": 96,
        "depths": [2, 2, 18, 2],
        "num_heads": [3, 6, 12, 24],
        "window_size": 7,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
        **sizes.pop("swin", {}),
    }
    published = {
        "num_labels": len(CLASSES),
        "num_queries": 100,
        "feature_size": 256,
        "mask_feature_size": 256,
        "hidden_dim": 256,
        "encoder_layers": 6,
        "encoder_feedforward_dim": 1024,
        # Includes the prediction before the first layer: there are nine layers.
        "decoder_layers": 10,
        "dim_feedforward": 2048,
        "num_attention_heads": 8,
    }
    return Mask2FormerConfig(backbone_config=SwinConfig(**swin), **(published | sizes))


def tiny() -> Mask2FormerConfig:
    """A small configuration for tests."""
    return config(
        swin={"embed_dim": 12, "depths": [2, 2, 2, 2], "num_heads": [1, 2, 3, 6]},
        num_queries=20,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_layers=2,
        encoder_feedforward_dim=64,
        decoder_layers=4,
        dim_feedforward=64,
    )


def build(architecture: Mask2FormerConfig) -> Mask2FormerForUniversalSegmentation:
    """The network with random weights."""
    return Mask2FormerForUniversalSegmentation(architecture)


def read(path: Path, architecture: Mask2FormerConfig) -> Mask2FormerForUniversalSegmentation:
    """The network with the weights of a file in the layout of the Hub; all weights must be used.

    Raises:
        WeightsError: the file cannot be read, or does not match the network.
    """
    state = read_state_dict(path)
    try:
        return from_hub(state, architecture)
    except WeightsError as error:
        raise WeightsError(f"{path} cannot be loaded: {error}") from error


def from_hub(
    state: dict[str, torch.Tensor], architecture: Mask2FormerConfig
) -> Mask2FormerForUniversalSegmentation:
    """The network with the tensors of `state`, named as in the Hub's files.

    Raises:
        WeightsError: tensors are missing, unexpected, of the wrong shape, or contain NaN.
    """
    check_finite("it", state)
    loader: Any = Mask2FormerForUniversalSegmentation  # its types lack the second result
    try:
        # This silences the report of keys, which are checked below.
        with quiet():
            # It maps the names of the Hub's files to those of its modules.
            network, report = loader.from_pretrained(
                None,
                config=architecture,
                state_dict=state,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except RuntimeError as error:
        raise WeightsError(f"it does not fit Mask2Former: {describe(error)[:300]}") from error
    problems = {
        "missing": [k for k in report["missing_keys"] if not k.endswith(_MAY_LACK)],
        "unexpected": [k for k in report["unexpected_keys"] if not k.endswith(_MAY_HOLD)],
    }
    if any(problems.values()):
        listed = "; ".join(
            f"{len(keys)} {what} ({', '.join(sorted(keys)[:5])}{', …' if len(keys) > 5 else ''})"
            for what, keys in problems.items()
            if keys
        )
        raise WeightsError(f"it does not fit Mask2Former: {listed}")
    whole: Mask2FormerForUniversalSegmentation = network
    return whole
