"""The embedded world's judges: an exact one that reads pictures back, and a small CLIP.

They score pictures of `rewardkit.shapes`, 32x32, by its prompts, such as "a red ring left of a blue
cross". The tasks are GenEval's (Ghosh et al. 2023, https://arxiv.org/abs/2310.11513).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from rewardkit.engine.card import EncoderSpec, RewardCard
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.preprocess import Normalize, Resize, ToFloat
from rewardkit.engine.registry import register
from rewardkit.engine.reward import Reward
from rewardkit.media.batch import Batch, Sample
from rewardkit.rewards.clip import ClipReward
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.loader import Loader
    from rewardkit.shapes.detect import DetectedShape

_PROMPTS = (
    "A prompt outside the grammar of rewardkit/shapes/prompts.py and a picture of another size "
    "than 32x32 are errors, not zeros."
)
_EMPTY = "An empty prompt counts as missing."


class Detector(Extractor):
    """What a picture of the embedded world shows, as its exact detector reads it."""

    def prepare(self, sample: Sample) -> list[DetectedShape]:
        """The things in the picture.

        Raises:
            InputError: it is not 32x32.
        """
        from rewardkit.shapes.detect import detect

        (found,) = detect(sample.picture.numpy(force=True)[None])
        return found

    def features(self, prepared: Sequence[list[DetectedShape]]) -> Sequence[list[DetectedShape]]:
        """The things in each picture."""
        return prepared


# One for all: two rewards that name the same extractor share what it found.
_DETECTOR = Detector()


def _card(name: str, summary: str, unit: str, *notes: str) -> RewardCard:
    return RewardCard(
        name=name,
        summary=summary,
        inputs=("image",),
        needs_prompt=True,
        unit=unit,
        range=(0.0, 1.0),
        paper="https://arxiv.org/abs/2310.11513",
        notes=(*notes, _PROMPTS, _EMPTY),
    )


@register(
    _card(
        "shapes-correct",
        "The picture shows exactly the shapes that the prompt asks for, as it asks.",
        "0 or 1",
        "Stricter than GenEval, which counts what is too much in its counting task alone: here "
        "one thing more is wrong in every task.",
        "Of a third of the prompts no picture was ever trained on in this package: "
        'rewardkit.shapes.prompts.prompts("held-out").',
    ),
    _card(
        "shapes-graded",
        "The picture shows more of the shapes that the prompt asks for, and less besides.",
        "share of the things asked for",
        "1 exactly where shapes-correct is; a right shape of a wrong colour earns half, a wrong "
        "relation halves the whole.",
        "What is no shape of this world earns nothing and costs as a thing too many.",
    ),
)
class Judged(Reward):
    """The verdict of the exact judge that the card is named after."""

    def __init__(self, card: RewardCard) -> None:
        self.card = card
        self.extractor = _DETECTOR

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Nothing is loaded."""
        return cls(card)

    @classmethod
    def check_line(cls, prompt: str, meta: Mapping[str, Any]) -> None:
        """Refuse a prompt outside the grammar of the embedded world.

        Raises:
            InputError: it is.
        """
        from rewardkit.shapes.prompts import parse

        parse(prompt)

    def score(self, batch: Batch, features: Sequence[list[DetectedShape]]) -> torch.Tensor:
        """The verdict on each picture by its prompt, float32 `[B]`.

        Raises:
            InputError: a prompt is not one of the embedded world's.
        """
        import torch

        from rewardkit.shapes.judge import correct, graded
        from rewardkit.shapes.prompts import parse

        judge = {"shapes-correct": correct, "shapes-graded": graded}[self.card.name]
        scenes = [parse(prompt or "") for prompt in batch.prompts]
        verdicts = [judge(scene, found) for scene, found in zip(scenes, features, strict=True)]
        return torch.tensor(verdicts, dtype=torch.float32)


CLIP = RewardCard(
    name="shapes-clip",
    summary="The picture shows what the prompt says (cosine of the embedded world's small CLIP).",
    inputs=("image",),
    needs_prompt=True,
    unit="cosine",
    range=(-1.0, 1.0),
    typical=(-0.5, 0.25),
    encoder=EncoderSpec(
        architecture=None,
        weights=PinnedFile(
            name="shapes-clip",
            repo="rewardkit.shapes",
            host="package",
            files=("weights/shapes-clip/model.safetensors",),
            licence="Apache-2.0",
        ),
        preprocess=(
            Resize(32, "squash", "bicubic", "pil"),
            ToFloat(),
            Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        ),
        library="transformers",
    ),
    paper="https://arxiv.org/abs/2103.00020",
    upstream="https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/clip/modeling_clip.py",
    trained_on=("rendered scenes and their prompts, the held-out ones excepted",),
    notes=(
        "A learned judge that can be fooled, as the large ones can: shapes-correct says the truth "
        "about the same picture.",
        "Of rendered pictures of held-out prompts nine tenths score 0.06 to 0.23 with their own "
        "prompt and -0.56 to -0.07 with another of the same task; 99 in 100 prefer their own.",
        "How it was made, and what it reached, is in rewardkit.json beside the weights.",
        "It knows pictures of 32x32; others are resized to that, and score by chance.",
        "Prompts longer than 12 tokens are cut. A word it does not know is spelled in letters; "
        "whatever is not a letter from a to z ends the prompt.",
        f"transformers takes an empty prompt. {_EMPTY}",
    ),
)
# The code of clip.*, on other weights.
register(CLIP)(ClipReward)
