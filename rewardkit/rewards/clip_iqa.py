"""CLIP-IQA: the probability that the first of two opposite texts is the one that matches an image.

Wang, Chan and Loy 2023, https://arxiv.org/abs/2207.12396. A classifier that needs no training:

    score = softmax(100 cos(image, texts))[first]

The name says what more means; the pairs are torchmetrics'. A pair of your own is a line in a Python
file, and FILE.py:NAME is then a reward like any other:

    from rewardkit.rewards.clip_iqa import pair
    watercolour = pair("Watercolour painting.", "Photo.")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.card import RewardCard
from rewardkit.engine.openai_clip import VIT_L_14
from rewardkit.engine.registry import register
from rewardkit.engine.reward import EncodedReward, RewardEntry
from rewardkit.media.batch import Batch

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.encoders import ClipFeatures

PAIRS = {
    "quality": ("Good photo.", "Bad photo."),
    "brightness": ("Bright photo.", "Dark photo."),
    "cleanness": ("Clean photo.", "Noisy photo."),
    "colorfulness": ("Colorful photo.", "Dull photo."),
    "sharpness": ("Sharp photo.", "Blurry photo."),
    "contrast": ("High contrast photo.", "Low contrast photo."),
    "complexity": ("Complex photo.", "Simple photo."),
    "natural": ("Natural photo.", "Synthetic photo."),
    "happy": ("Happy photo.", "Sad photo."),
    "scary": ("Scary photo.", "Peaceful photo."),
    "new": ("New photo.", "Old photo."),
    "warm": ("Warm photo.", "Cold photo."),
    "real": ("Real photo.", "Abstract photo."),
    "beautiful": ("Beautiful photo.", "Ugly photo."),
    "lonely": ("Lonely photo.", "Sociable photo."),
    "relaxing": ("Relaxing photo.", "Stressful photo."),
}
_NOTES = {
    "cleanness": ('torchmetrics calls it "noisiness", the opposite of what it measures.',),
    "colorfulness": ('torchmetrics calls it "colorfullness".',),
}
# CLIP's own logit scale at the end of its training; upstream writes the number.
_SCALE = 100.0
_COMMIT = "700261d3683ba77517e9650043f62a8313027437"
_UPSTREAM = (
    f"https://github.com/Lightning-AI/torchmetrics/blob/{_COMMIT}"
    "/src/torchmetrics/functional/multimodal/clip_iqa.py"
)


def _card(name: str, positive: str, negative: str, *notes: str) -> RewardCard:
    return RewardCard(
        name=name,
        summary=f'The image matches "{positive}" better than "{negative}" (CLIP-IQA).',
        inputs=("image",),
        differentiable=True,
        texts=(positive, negative),
        unit="probability",
        range=(0.0, 1.0),
        encoder=VIT_L_14,
        licence_code="Apache-2.0",
        paper="https://arxiv.org/abs/2207.12396",
        upstream=_UPSTREAM,
        trained_on=("WIT-400M (OpenAI)",),
        notes=(
            *notes,
            "Not the paper's numbers: the paper, and torchmetrics by default, take CLIP's "
            "ResNet-50 without positional embedding on the image at its own size; this is "
            "torchmetrics with openai/clip-vit-large-patch14, on the image cut to 224 pixels.",
            "It cannot judge what a resize to 224 pixels removes, such as fine noise.",
            "The factor 100 drives many images towards 0 or 1: compare, and do not read it as a "
            "frequency.",
            "Where a margin of 4k + 3 pixels is cut away, torchmetrics' processor cuts one pixel "
            "elsewhere; here the image is cut as for every reward of this encoder.",
        ),
    )


@register(
    *(
        _card(f"clip-iqa.vit-l-14.{name}", *texts, *_NOTES.get(name, ()))
        for name, texts in PAIRS.items()
    ),
    default="clip-iqa.vit-l-14.quality",
)
class ClipIqa(EncodedReward):
    """Which of the two texts of the card matches the image."""

    def score(self, batch: Batch, features: ClipFeatures) -> torch.Tensor:
        """`softmax(100 cos(image, texts))` of the first text, float32."""
        cosines = features.image @ features.text(self.card.texts).T
        return (_SCALE * cosines).softmax(dim=-1)[:, 0]


def pair(positive: str, negative: str) -> RewardEntry:
    """A reward from two texts: the probability that `positive` matches rather than `negative`.

    Both texts should differ only in the quality to measure. Use it as the module says.
    """
    card = _card("pair", positive, negative)
    return RewardEntry(card, ClipIqa, __name__)
