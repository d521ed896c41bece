"""Human Preference Score v3: which of several images of one prompt people prefer.

Ma et al. 2025, https://arxiv.org/abs/2508.03789. A Qwen2-VL looks at the image and reads a
questionnaire with the prompt in it; where its own token stands, a small network gives the mean and
the deviation of what people would say. The score is the mean.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Self, final

from rewardkit.engine.card import RewardCard
from rewardkit.engine.preprocess import CLIP_NORMALIZE, FitArea, ToFloat
from rewardkit.engine.registry import register
from rewardkit.engine.reward import Reward
from rewardkit.media.batch import Batch, Sample
from rewardkit.weights.checkpoint import read_state_dict
from rewardkit.weights.pins import PinnedFile, Snapshot

if TYPE_CHECKING:
    import torch
    from torch import nn

    from rewardkit.engine.loader import Loader
    from rewardkit.engine.vision_language import VisionLanguageJudge

NAME = "hps.v3"
TOKEN = "<|Reward|>"
AREA = 200_704  # pixels of an image, about; 256 tokens of 28 x 28
_MEAN = 0  # the first output of the head; the second is the deviation

CHECKPOINT = PinnedFile(
    name=NAME, repo="MizzenAI/HPSv3", files=("HPSv3.safetensors",), licence="Apache-2.0"
)
BASE = Snapshot(
    name="qwen2-vl-7b",
    repo="Qwen/Qwen2-VL-7B-Instruct",
    patterns=("config.json", "tokenizer.json", "tokenizer_config.json"),
    licence="Apache-2.0",
)


def template() -> str:
    """Upstream's questionnaire, with a place for `text_prompt`."""
    return (resources.files(__package__) / "hpsv3_template.txt").read_text("utf-8")


def head(width: int) -> nn.Module:
    """The network from a hidden state `[..., width]` to mean and deviation, `[..., 2]`."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(width, 1024),
        nn.ReLU(),
        nn.Dropout(0.05),  # it has a place among the names of tensors
        nn.Linear(1024, 16),
        nn.ReLU(),
        nn.Linear(16, 2),
    )


@register(
    RewardCard(
        name=NAME,
        summary="People prefer the image to others of the same prompt (mean of HPS v3).",
        inputs=("image",),
        needs_prompt=True,
        batch_size=8,
        unit="logits",
        range=(None, None),
        preprocess=(
            FitArea(multiple=28, low=AREA, high=AREA, backend="pil"),
            ToFloat(),
            CLIP_NORMALIZE,
        ),
        weights=(CHECKPOINT, BASE),
        licence_code="MIT",
        paper="https://arxiv.org/abs/2508.03789",
        upstream="https://github.com/MizzenAI/HPSv3/blob/"
        "72b7ebaf0fe76bce636b3f4997aee319d0f65aef/hpsv3/inference.py",
        trained_on=("HPDv3 (1.17 million comparisons of images), from Qwen2-VL-7B-Instruct",),
        notes=(
            "The first of upstream's two outputs, the mean; the deviation is not used. The scale "
            "is arbitrary: compare images of one prompt.",
            "Means of a generator over HPSv3's benchmark prompts are between 8.35 and 10.47 for "
            "eight generators of 2025 and 2026, as the README of HiDream-O1-Image prints them. "
            "Upstream publishes no score of a single image, so no typical range is stated.",
            "On people's choices between images of models of 2025 it is right in 60.2 % of pairs "
            "(MMRB2, text to image), where chance is 50 % and HPS v2 has 54.7 %.",
            "Each image is resized to about 200,704 pixels, small ones too: details finer than "
            "that cannot count.",
            "Upstream's versions take prompts and images in different orders, and without special "
            "tokens drop the questionnaire: here is what version 1.0.0 computes, with them.",
            "Upstream computes on transformers 4.45, which gives each token one position on all "
            "three axes; newer ones give an image places in space and time, and other scores. "
            "Here positions are those of 4.45.",
            "The published network computes in bfloat16: --dtype bfloat16 halves the memory, to "
            "16 GB. The head and the score are float32.",
            "Upstream takes an empty prompt; here it counts as missing. A prompt that spells one "
            "of the judge's own tokens is an error.",
        ),
    ),
    short_names={"hpsv3": NAME},
)
@final
class HpsV3(Reward):
    """The mean that the head gives at the judge's token."""

    def __init__(self, card: RewardCard, judge: VisionLanguageJudge) -> None:
        self.card = card
        self.extractor = judge

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads the whole network of the checkpoint; of its base only config and tokenizer."""
        from rewardkit.engine.vision_language import (
            Questionnaire,
            VisionLanguageJudge,
            load_judge,
        )
        from rewardkit.weights.nets.qwen2_vl import renamed

        questions = template()

        def text(prompt: str) -> str:
            return questions.format(text_prompt=prompt)

        def look(sample: Sample) -> torch.Tensor:
            return sample.picture

        def tensors() -> dict[str, torch.Tensor]:
            return renamed(read_state_dict(loader.file(CHECKPOINT)))

        loaded = load_judge(loader, BASE, (TOKEN,), head, tensors, questions)
        asked = Questionnaire("image", (TOKEN,), look, text)
        return cls(card, VisionLanguageJudge(loaded, asked, card.preprocess))

    def score(self, batch: Batch, features: torch.Tensor) -> torch.Tensor:
        """The mean, float32 `[B]`."""
        return features[:, 0, _MEAN]
