"""CLIP similarity: the cosine between the embeddings of an image and its prompt.

Radford et al. 2021, https://arxiv.org/abs/2103.00020. Computed by open_clip; the cosine itself,
without logit scale, factor 100, clamp or prompt prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.card import EncoderSpec, RewardCard
from rewardkit.engine.openai_clip import FILES, VIT_B_32, VIT_L_14
from rewardkit.engine.preprocess import CLIP_NORMALIZE, Resize, ToFloat
from rewardkit.engine.registry import register
from rewardkit.engine.reward import EncodedReward
from rewardkit.media.batch import Batch
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.encoders import ClipFeatures

_OPEN_CLIP = "https://github.com/mlfoundations/open_clip/tree/v3.3.0/src/open_clip"


DFN5B_H_14_378 = EncoderSpec(
    architecture="ViT-H-14-378-quickgelu",
    weights=PinnedFile(
        name="clip.dfn5b-h-14-378",
        repo="apple/DFN5B-CLIP-ViT-H-14-378",
        files=FILES,
        licence="Apple AMLR (research only)",
    ),
    # Both sides to 378: the aspect ratio is not kept, and nothing is cropped.
    preprocess=(Resize(378, "squash", "bicubic", "pil"), ToFloat(), CLIP_NORMALIZE),
)


def clip_card(name: str, encoder: EncoderSpec, data: tuple[str, ...], *notes: str) -> RewardCard:
    """The card of the cosine for one encoder."""
    return RewardCard(
        name=name,
        summary="The image matches the prompt (cosine of CLIP embeddings).",
        inputs=("image",),
        needs_prompt=True,
        differentiable=True,
        unit="cosine",
        range=(-1.0, 1.0),
        encoder=encoder,
        licence_code="MIT",
        paper="https://arxiv.org/abs/2103.00020",
        upstream=_OPEN_CLIP,
        trained_on=data,
        notes=(
            *notes,
            "Prompts longer than 77 tokens are cut; the end-of-text token is kept.",
            "open_clip takes an empty prompt; here it counts as missing.",
            "Images are made RGB before the resize; open_clip does so after it, which differs "
            "for palette images only.",
        ),
    )


@register(
    clip_card("clip.vit-b-32", VIT_B_32, ("WIT-400M (OpenAI)",)),
    clip_card("clip.vit-l-14", VIT_L_14, ("WIT-400M (OpenAI)",)),
    clip_card(
        "clip.dfn5b-h-14-378",
        DFN5B_H_14_378,
        ("DFN-5B",),
        "The CLIP model of DanceGRPO's text-image alignment reward.",
    ),
    default="clip.vit-l-14",
)
class ClipReward(EncodedReward):
    """The cosine of the features' image and text embeddings."""

    def score(self, batch: Batch, features: ClipFeatures) -> torch.Tensor:
        """`cos(image, prompt)`, float32."""
        return features.cosine(batch.prompts)
