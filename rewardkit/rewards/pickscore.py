"""PickScore: which of two images of one prompt the users of a web application picked.

Kirstain et al. 2023, https://arxiv.org/abs/2305.01569: CLIP ViT-H-14 fine-tuned on Pick-a-Pic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.card import EncoderSpec, RewardCard
from rewardkit.engine.preprocess import CLIP_NORMALIZE, CenterCrop, Resize, ToFloat
from rewardkit.engine.registry import register
from rewardkit.engine.reward import EncodedReward
from rewardkit.media.batch import Batch
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.encoders import ClipFeatures

_COMMIT = "f79607ff68609c1e6dfa78cba38afeea4c248df1"

V1 = EncoderSpec(
    architecture="ViT-H-14",
    weights=PinnedFile(
        name="pickscore.v1",
        repo="yuvalkirstain/PickScore_v1",
        files=("model.safetensors", "pytorch_model.bin"),
        # The model's page states none; the repository of its code is MIT.
        licence="not stated",
    ),
    preprocess=(
        Resize(224, "shortest", "bicubic", "pil"),
        CenterCrop(224, half_margin="down"),
        ToFloat(),
        CLIP_NORMALIZE,
    ),
    library="transformers",
)


@register(
    RewardCard(
        name="pickscore.v1",
        summary="People prefer the image to others of the same prompt (scaled CLIP cosine).",
        inputs=("image",),
        needs_prompt=True,
        differentiable=True,
        unit="logit scale x cosine",
        range=(None, None),
        typical=(17.0, 24.0),
        encoder=V1,
        licence_code="MIT",
        paper="https://arxiv.org/abs/2305.01569",
        upstream=f"https://github.com/yuvalkirstain/PickScore/blob/{_COMMIT}/README.md",
        trained_on=("Pick-a-Pic v1, from LAION-2B's CLIP",),
        notes=(
            "The cosine times the learned logit scale, about 100: the scale of the paper's code. "
            "Others report the cosine (0.21), the score divided by 26 (0.8), or the softmax over "
            "the images of a prompt.",
            "The range is that of the logit scale, which the weights hold.",
            "Compare images of one prompt only.",
            "Pixels are those of transformers' PIL processor, which upstream ran with; the "
            "processor that transformers 5 takes by default resizes tensors and gives others.",
            "Prompts are cleaned as transformers does it: curly quotes and HTML entities stay.",
            "Prompts longer than 77 tokens are cut; the end-of-text token is kept.",
            "Upstream takes an empty prompt; here it counts as missing.",
        ),
    ),
    default="pickscore.v1",
)
class PickScore(EncodedReward):
    """The logit scale times the cosine of the features' image and text embeddings."""

    def score(self, batch: Batch, features: ClipFeatures) -> torch.Tensor:
        """`exp(t) * cos(image, prompt)` with t the learned log temperature, float32."""
        return features.logit_scale * features.cosine(batch.prompts)
