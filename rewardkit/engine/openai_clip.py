"""OpenAI's CLIP in its sizes: the encoders that several rewards and GenEval's colours share."""

from __future__ import annotations

from rewardkit.engine.card import EncoderSpec
from rewardkit.engine.preprocess import CLIP_NORMALIZE, CenterCrop, Resize, ToFloat
from rewardkit.weights.pins import PinnedFile

FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def _encoder(name: str, architecture: str, repo: str) -> EncoderSpec:
    """CLIP of one size, with the preprocessing it was trained with."""
    return EncoderSpec(
        architecture=architecture,
        weights=PinnedFile(name=name, repo=repo, files=FILES, licence="MIT"),
        preprocess=(
            Resize(224, "shortest", "bicubic", "pil"),
            CenterCrop(224),
            ToFloat(),
            CLIP_NORMALIZE,
        ),
    )


VIT_B_16 = _encoder("clip.vit-b-16", "ViT-B-16-quickgelu", "timm/vit_base_patch16_clip_224.openai")
VIT_B_32 = _encoder("clip.vit-b-32", "ViT-B-32-quickgelu", "timm/vit_base_patch32_clip_224.openai")
VIT_L_14 = _encoder("clip.vit-l-14", "ViT-L-14-quickgelu", "timm/vit_large_patch14_clip_224.openai")
