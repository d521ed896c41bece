"""The judges of the embedded world: an exact detector of shapes, and a small CLIP.

They score images and clips of `rewardkit.shapes`, 32x32, by its prompts, such as "a red ring left
of a blue cross" or "a red ring moving left". The tasks of images are GenEval's (Ghosh et al. 2023, https://arxiv.org/abs/2310.11513).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, final

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
    "A prompt outside the grammar of {file} and a medium of another size than "
    "32x32 are errors, not zeros."
)
_HELD_OUT = (
    "A third of the prompts was never trained on in this package: "
    'rewardkit.shapes.{file}.prompts("held-out").'
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


def _card(name: str, summary: str, unit: str, *notes: str, inputs: tuple[Kind, ...]) -> RewardCard:
    grammars = {"image": "rewardkit/shapes/prompts.py", "video": "rewardkit/shapes/motion.py"}
    return RewardCard(
        name=name,
        summary=summary,
        inputs=inputs,
        needs_prompt=True,
        unit=unit,
        range=(0.0, 1.0),
        paper="https://arxiv.org/abs/2310.11513" if "image" in inputs else None,
        notes=(*notes, _PROMPTS.format(file=" and ".join(grammars[i] for i in inputs)), _EMPTY),
    )


class Judged(Reward, ABC):
    """The verdict of an exact judge on what was found in each frame."""

    extractor = _DETECTOR

    def __init__(self, card: RewardCard) -> None:
        self.card = card

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
        cls.parse(prompt)

    @staticmethod
    @abstractmethod
    def parse(prompt: str) -> Any:
        """What a prompt asks for.

        Raises:
            InputError: the prompt is outside the grammar.
        """

    @staticmethod
    @abstractmethod
    def judge(parsed: Any, frames: Sequence[Sequence[DetectedShape]]) -> float:
        """The score of what was found in each frame."""

    def score(self, batch: Batch, features: Sequence[list[list[DetectedShape]]]) -> torch.Tensor:
        """The score of each sample for its prompt, float32 `[B]`.

        Raises:
            InputError: a prompt is outside the grammar, or a clip has too few frames.
        """
        import torch

        parsed = [self.parse(prompt or "") for prompt in batch.prompts]
        verdicts = [self.judge(*pair) for pair in zip(parsed, features, strict=True)]
        return torch.tensor(verdicts, dtype=torch.float32)


@final
@register(
    _card(
        "shapes-correct",
        "The image, or each frame of the clip, shows exactly the shapes that the prompt asks for.",
        "share of frames",
        "An image scores 0 or 1. A clip scores the share of its frames that show exactly the "
        "requested shapes in the requested colours; shapes-motion judges how they move.",
        "Stricter than GenEval, which penalises extra objects in its counting task only: here one "
        "extra object is wrong in every task.",
        _HELD_OUT.format(file="prompts"),
        inputs=("image", "video"),
    )
)
class JudgedFrames(Judged):
    """Whether each frame shows what the prompt asks for, motion aside."""

    @staticmethod
    def parse(prompt: str) -> Any:
        """See `Judged.parse`."""
        from rewardkit.shapes import motion, prompts

        return (motion if motion.is_of_motion(prompt) else prompts).parse(prompt)

    @staticmethod
    def judge(parsed: Any, frames: Sequence[Sequence[DetectedShape]]) -> float:
        """The share of frames that are right."""
        from rewardkit.shapes import judge, motion

        rule = motion.shown if isinstance(parsed, motion.MotionPrompt) else judge.correct
        return sum(rule(parsed, frame) for frame in frames) / len(frames)


@final
@register(
    _card(
        "shapes-graded",
        "The image shows more of the requested shapes and fewer others.",
        "share of the things asked for",
        "It is 1 exactly where shapes-correct is 1; a right shape in a wrong colour earns half, "
        "and a wrong relation halves the score.",
        "Anything that is not a shape of this world earns nothing and costs as much as an extra "
        "object.",
        inputs=("image",),
    )
)
class JudgedObjects(Judged):
    """Partial credit: `rewardkit.shapes.judge.graded`."""

    @staticmethod
    def parse(prompt: str) -> Any:
        """See `Judged.parse`."""
        from rewardkit.shapes.prompts import parse

        return parse(prompt)

    @staticmethod
    def judge(parsed: Any, frames: Sequence[Sequence[DetectedShape]]) -> float:
        """The credit of an image, which has one frame."""
        from rewardkit.shapes.judge import graded

        (found,) = frames
        return graded(parsed, found)


@final
@register(
    _card(
        "shapes-motion",
        "The shapes that the prompt asks for move as it asks, and nothing else is shown.",
        "share of steps between frames",
        "shapes-motion@0.99 is its strict form: 1 where every step from frame to frame is right.",
        _HELD_OUT.format(file="motion"),
        inputs=("video",),
    )
)
class JudgedMotion(Judged):
    """The share of right steps from one frame to the next: `rewardkit.shapes.motion.motion`."""

    @staticmethod
    def parse(prompt: str) -> Any:
        """See `Judged.parse`."""
        from rewardkit.shapes.motion import parse

        return parse(prompt)

    @staticmethod
    def judge(parsed: Any, frames: Sequence[Sequence[DetectedShape]]) -> float:
        """The share of right steps of a clip."""
        from rewardkit.shapes.motion import motion

        return motion(parsed, frames)


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
