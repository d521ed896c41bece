"""The judges of the embedded world: an exact detector of shapes, and a small CLIP.

They score images and clips of `rewardkit.shapes`, 32x32, by its prompts, such as "a red ring left
of a blue cross" or "a red ring moving left". The tasks of images are GenEval's (Ghosh et al. 2023, https://arxiv.org/abs/2310.11513).
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
    from rewardkit.media.batch import Kind
    from rewardkit.shapes.detect import DetectedShape

_PROMPTS = (
    "A prompt outside the grammar of rewardkit/shapes/{file}.py and a medium of another size than "
    "32x32 are errors, not zeros."
)
_EMPTY = "An empty prompt counts as missing."


class Detector(Extractor):
    """The shapes in each frame of a clip of the embedded world, or in an image, found exactly."""

    def prepare(self, sample: Sample) -> list[list[DetectedShape]]:
        """The shapes in each frame; an image has one.

        Raises:
            InputError: it is not 32x32.
        """
        from rewardkit.shapes.detect import detect

        return detect(sample.frames().numpy(force=True))

    def features(
        self, prepared: Sequence[list[list[DetectedShape]]]
    ) -> Sequence[list[list[DetectedShape]]]:
        """The shapes in each frame of each sample."""
        return prepared


# One for all: two rewards that name the same extractor share what it found.
_DETECTOR = Detector()


def _card(name: str, summary: str, unit: str, *notes: str, clips: bool = False) -> RewardCard:
    inputs: tuple[Kind, ...] = ("video",) if clips else ("image",)
    return RewardCard(
        name=name,
        summary=summary,
        inputs=inputs,
        needs_prompt=True,
        unit=unit,
        range=(0.0, 1.0),
        paper=None if clips else "https://arxiv.org/abs/2310.11513",
        notes=(*notes, _PROMPTS.format(file="motion" if clips else "prompts"), _EMPTY),
    )


@register(
    _card(
        "shapes-correct",
        "The image shows exactly the shapes that the prompt asks for.",
        "0 or 1",
        "Stricter than GenEval, which penalises extra objects in its counting task only: here one "
        "extra object is wrong in every task.",
        "A third of the prompts was never trained on in this package: "
        'rewardkit.shapes.prompts.prompts("held-out").',
    ),
    _card(
        "shapes-graded",
        "The image shows more of the requested shapes and fewer others.",
        "share of the things asked for",
        "It is 1 exactly where shapes-correct is 1; a right shape in a wrong colour earns half, "
        "and a wrong relation halves the score.",
        "Anything that is not a shape of this world earns nothing and costs as much as an extra "
        "object.",
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
            InputError: the prompt is outside the grammar.
        """
        from rewardkit.shapes.prompts import parse

        parse(prompt)

    def score(self, batch: Batch, features: Sequence[list[list[DetectedShape]]]) -> torch.Tensor:
        """The score of each image for its prompt, float32 `[B]`.

        Raises:
            InputError: a prompt is not one of the embedded world's.
        """
        import torch

        from rewardkit.shapes.judge import correct, graded
        from rewardkit.shapes.prompts import parse

        judge = {"shapes-correct": correct, "shapes-graded": graded}[self.card.name]
        scenes = [parse(prompt or "") for prompt in batch.prompts]
        verdicts = [judge(scene, found) for scene, (found,) in zip(scenes, features, strict=True)]
        return torch.tensor(verdicts, dtype=torch.float32)


@register(
    _card(
        "shapes-motion",
        "The shapes that the prompt asks for move as it asks, and nothing else is shown.",
        "share of steps between frames",
        "shapes-motion@0.99 is its strict form: 1 where every step from frame to frame is right.",
        "A third of the prompts was never trained on in this package: "
        'rewardkit.shapes.motion.prompts("held-out").',
        clips=True,
    )
)
class JudgedMotion(Reward):
    """The share of right steps from one frame to the next: `rewardkit.shapes.motion.motion`."""

    extractor = _DETECTOR

    def __init__(self, card: RewardCard) -> None:
        self.card = card

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Nothing is loaded."""
        return cls(card)

    @classmethod
    def check_line(cls, prompt: str, meta: Mapping[str, Any]) -> None:
        """Refuse a prompt outside the grammar of moving shapes.

        Raises:
            InputError: the prompt is outside the grammar.
        """
        from rewardkit.shapes.motion import parse

        parse(prompt)

    def score(self, batch: Batch, features: Sequence[list[list[DetectedShape]]]) -> torch.Tensor:
        """The score of each clip for its prompt, float32 `[B]`.

        Raises:
            InputError: a prompt is outside the grammar, or a clip has one frame.
        """
        import torch

        from rewardkit.shapes.motion import motion, parse

        scenes = [parse(prompt or "") for prompt in batch.prompts]
        shares = [motion(scene, found) for scene, found in zip(scenes, features, strict=True)]
        return torch.tensor(shares, dtype=torch.float32)


CLIP = RewardCard(
    name="shapes-clip",
    summary="The image matches the prompt (cosine of the small built-in CLIP).",
    inputs=("image",),
    needs_prompt=True,
    differentiable=True,
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
        "A learned judge that can be fooled, as the large ones can: shapes-correct is exact for "
        "the same image.",
        "Nine tenths of rendered images of held-out prompts score 0.06 to 0.23 with their own "
        "prompt and -0.56 to -0.07 with another of the same task; 99 in 100 prefer their own.",
        "Its training and its results are described in rewardkit.json beside the weights.",
        "It was trained on 32x32 images; others are resized to that size, and their scores are "
        "chance.",
        "Prompts longer than 12 tokens are cut. An unknown word is spelled in letters; any "
        "character other than a letter from a to z ends the prompt.",
        f"transformers takes an empty prompt. {_EMPTY}",
    ),
)
# The code of clip.*, on other weights.
register(CLIP)(ClipReward)
