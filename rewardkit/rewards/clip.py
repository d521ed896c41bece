"""CLIP similarity: the cosine between a picture's and its prompt's embedding.

Radford et al. 2021, https://arxiv.org/abs/2103.00020. Computed by open_clip; the cosine itself,
without logit scale, factor 100, clamp or prompt prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.card import EncoderSpec, RewardCard
from rewardkit.engine.preprocess import CLIP_NORMALIZE, CenterCrop, Resize, Steps, ToFloat
from rewardkit.engine.registry import register
from rewardkit.engine.reward import EncodedReward
from rewardkit.media.batch import Batch
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.encoders import ClipFeatures

_OPENAI: Steps = (
    Resize(224, "shortest", "bicubic", "pil"),
    CenterCrop(224),
    ToFloat(),
    CLIP_NORMALIZE,
)
_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_OPEN_CLIP = "https://github.com/mlfoundations/open_clip/tree/v3.3.0/src/open_clip"


def openai_encoder(name: str, architecture: str, repo: str) -> EncoderSpec:
    """OpenAI's CLIP of one size, with the preprocessing it was trained with."""
    weights = PinnedFile(name=name, repo=repo, files=_FILES, licence="MIT")
    return EncoderSpec(architecture=architecture, weights=weights, preprocess=_OPENAI)


VIT_B_32 = openai_encoder(
    "clip.vit-b-32", "ViT-B-32-quickgelu", "timm/vit_base_patch32_clip_224.openai"
)
VIT_L_14 = openai_encoder(
    "clip.vit-l-14", "ViT-L-14-quickgelu", "timm/vit_large_patch14_clip_224.openai"
)
DFN5B_H_14_378 = EncoderSpec(
    architecture="ViT-H-14-378-quickgelu",
    weights=PinnedFile(
        name="clip.dfn5b-h-14-378",
        repo="apple/DFN5B-CLIP-ViT-H-14-378",
        files=_FILES,
        licence="Apple AMLR (research only)",
    ),
    # Both sides to 378: the aspect ratio is not kept, and nothing is cropped.
    preprocess=(Resize(378, "squash", "bicubic", "pil"), ToFloat(), CLIP_NORMALIZE),
)


def _card(encoder: EncoderSpec, data: str, *notes: str) -> RewardCard:
    return RewardCard(
        name=encoder.weights.name,
        summary="The picture shows what the prompt says (cosine of CLIP embeddings).",
        inputs=("image",),
        needs_prompt=True,
        unit="cosine",
        range=(-1.0, 1.0),
        encoder=encoder,
        licence_code="MIT",
        paper="https://arxiv.org/abs/2103.00020",
        upstream=_OPEN_CLIP,
        trained_on=(data,),
        notes=(
            *notes,
            "Prompts longer than 77 tokens are cut; the end-of-text token is kept.",
            "open_clip takes an empty prompt; here it counts as missing.",
            "Pictures are made RGB before the resize; open_clip does so after it, which differs "
            "for palette pictures only.",
        ),
    )


@register(
    _card(VIT_B_32, "WIT-400M (OpenAI)"),
    _card(VIT_L_14, "WIT-400M (OpenAI)"),
    _card(
        DFN5B_H_14_378,
        "DFN-5B",
        "The CLIP of DanceGRPO's text-image alignment reward.",
    ),
    default="clip.vit-l-14",
)
class ClipReward(EncodedReward):
    """The cosine of the features' image and text embeddings."""

    def score(self, batch: Batch, features: ClipFeatures) -> torch.Tensor:
        """`cos(image, prompt)`, float32."""
        return features.cosine(batch.prompts)
