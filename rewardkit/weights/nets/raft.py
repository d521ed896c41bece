"""torchvision's RAFT: the names of its authors' checkpoints, and a network for tests.

Source of the names: https://github.com/princeton-vl/RAFT, core/raft.py, extractor.py and update.py.
"""

from __future__ import annotations

import re

import torch
from torch import nn
from torchvision.models.optical_flow.raft import (
    RAFT,
    BottleneckBlock,
    CorrBlock,
    FeatureEncoder,
    FlowHead,
    MotionEncoder,
    RecurrentBlock,
    UpdateBlock,
)

_HIDDEN = 8
# Patterns of the authors' names, and torchvision's names; the first that fits a name renames it.
_NAMES = (
    (r"(feature|context)_encoder\.conv1\.", r"\1_encoder.convnormrelu.0."),
    (r"(feature|context)_encoder\.norm1\.", r"\1_encoder.convnormrelu.1."),
    (r"(feature|context)_encoder\.conv2\.", r"\1_encoder.conv."),
    (r"(layer\d\.\d)\.conv([12])\.", r"\1.convnormrelu\2.0."),
    (r"(layer\d\.\d)\.norm([12])\.", r"\1.convnormrelu\2.1."),
    (r"update_block\.encoder\.conv\.", "update_block.motion_encoder.conv.0."),
    (r"update_block\.encoder\.convc([12])\.", r"update_block.motion_encoder.convcorr\1.0."),
    (r"update_block\.encoder\.convf([12])\.", r"update_block.motion_encoder.convflow\1.0."),
    (r"update_block\.gru\.conv([zrq])([12])\.", r"update_block.recurrent_block.convgru\2.conv\1."),
    (r"update_block\.mask\.0\.", "mask_predictor.convrelu.0."),
    (r"update_block\.mask\.2\.", "mask_predictor.conv."),
)


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A checkpoint under torchvision's names, whoever wrote it: torchvision, or RAFT's authors."""
    if not any(re.match(r"(module\.)?fnet\.", name) for name in state):
        return state
    return {
        _renamed(name): tensor
        for name, tensor in state.items()
        if ".norm3." not in name  # the same tensors as those of `downsample`
    }


def _renamed(name: str) -> str:
    name = name.removeprefix("module.")
    name = re.sub(r"^fnet\.", "feature_encoder.", re.sub(r"^cnet\.", "context_encoder.", name))
    for pattern, new in _NAMES:
        name, found = re.subn(pattern, new, name)
        if found:
            break
    return name


def tiny_raft() -> nn.Module:
    """The network with two scales of correlation, which fit into frames of 32 pixels."""
    correlation = CorrBlock(num_levels=2, radius=1)
    motion = MotionEncoder(
        in_channels_corr=correlation.out_channels,
        corr_layers=(8,),
        flow_layers=(8, 8),
        out_channels=10,
    )
    update = UpdateBlock(
        motion_encoder=motion,
        recurrent_block=RecurrentBlock(
            input_size=motion.out_channels + _HIDDEN,
            hidden_size=_HIDDEN,
            kernel_size=((3, 3),),
            padding=((1, 1),),
        ),
        flow_head=FlowHead(in_channels=_HIDDEN, hidden_size=8),
    )

    def encoder(channels: int) -> nn.Module:
        return FeatureEncoder(
            block=BottleneckBlock, layers=(8, 8, 8, 8, channels), norm_layer=nn.InstanceNorm2d
        )

    return RAFT(
        feature_encoder=encoder(16),
        context_encoder=encoder(2 * _HIDDEN),
        corr_block=correlation,
        update_block=update,
    )
