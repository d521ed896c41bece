"""CLIPScore: how well a caption matches an image, as a scaled CLIP cosine.

Hessel et al. 2021, https://arxiv.org/abs/2104.08718:

    score = 2.5 max(cos(image, "A photo depicts " + prompt), 0)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.card import RewardCard
from rewardkit.engine.openai_clip import VIT_B_32
from rewardkit.engine.registry import register
from rewardkit.engine.reward import EncodedReward
from rewardkit.media.batch import Batch

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.encoders import ClipFeatures

PREFIX = "A photo depicts "
_SCALE = 2.5
_COMMIT = "1036465276513621f77f1c2208d742e4a430781f"


@register(
    RewardCard(
        name="clipscore.vit-b-32",
        summary="The image matches the prompt (CLIPScore).",
        inputs=("image",),
        needs_prompt=True,
        differentiable=True,
        unit="2.5 x cosine",
        range=(0.0, 2.5),
        typical=(0.7, 0.86),
        encoder=VIT_B_32,
        licence_code="MIT",
        paper="https://arxiv.org/abs/2104.08718",
        upstream=f"https://github.com/jmhessel/clipscore/blob/{_COMMIT}/clipscore.py",
        trained_on=("WIT-400M (OpenAI)",),
        notes=(
            f"The prompt is read with {PREFIX!r} before it.",
            "Not the CLIPScore of torchmetrics, which is 100 max(cos, 0) of the mean over a batch, "
            "with ViT-L/14 and without the words before the prompt.",
            "Typical: upstream's example prints 0.7153 as the mean of two wrong captions and "
            "0.8584 of two right ones; it publishes no score of a single image.",
            "Every cosine below 0 scores 0, so an image that matches worse than that is not "
            "distinguished from one that matches much worse; clip.vit-b-32 is the cosine.",
            "Prompts longer than 77 tokens, the words before them counted, are cut; the "
            "end-of-text token is kept.",
            "Upstream takes an empty prompt, and scores the words before it; here it counts as "
            "missing.",
            "Images are made RGB before the resize; upstream does so after the crop, which "
            "differs for palette and transparent images only.",
        ),
    )
)
class ClipScore(EncodedReward):
    """The scaled cosine of an image and a prompt with the words before it."""

    def score(self, batch: Batch, features: ClipFeatures) -> torch.Tensor:
        """`2.5 max(cos(image, prefixed prompt), 0)`, float32."""
        captions = [PREFIX + (prompt or "") for prompt in batch.prompts]
        return _SCALE * features.cosine(captions).clamp(min=0)
