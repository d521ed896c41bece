"""GenEval: whether the image shows the objects of its prompt in number, colour and position.

Ghosh, Hajishirzi and Schmidt 2023, https://arxiv.org/abs/2310.11513. A detector finds the objects,
CLIP tells their colours, and `rewardkit.geneval.rules` judge them by the prompt's line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rewardkit.engine.card import RewardCard
from rewardkit.engine.openai_clip import VIT_L_14
from rewardkit.engine.registry import register
from rewardkit.engine.reward import Reward
from rewardkit.geneval.colours import ColourClassifier
from rewardkit.geneval.convert import CONVERTED
from rewardkit.geneval.detector import BATCH_SIZE, META, Detections, ObjectDetector
from rewardkit.media.batch import Batch
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.loader import Loader

_UPSTREAM = "https://github.com/djghosh13/geneval"
_COMMIT = "af4902f24d3ca90ebbb446dd9891a59e0f82725f"


def _cards(suffix: str, detector: PinnedFile, *notes: str) -> tuple[RewardCard, RewardCard]:
    """The strict and the graded reward by one detector."""
    strict = RewardCard(
        name=f"geneval{suffix}",
        summary="The image shows the objects that its GenEval prompt asks for.",
        inputs=("image",),
        needs_meta=("tag", "include"),
        batch_size=BATCH_SIZE,
        unit="0 or 1",
        range=(0.0, 1.0),
        encoder=VIT_L_14,
        weights=(detector,),
        licence_code="MIT",
        paper="https://arxiv.org/abs/2310.11513",
        upstream=f"{_UPSTREAM}/blob/{_COMMIT}/evaluation/evaluate_images.py",
        trained_on=("COCO 2017 (the detector)", "OpenAI's images and texts (CLIP)"),
        notes=(
            *notes,
            "It reads the keys tag, include and exclude of the prompt's line, as GenEval's "
            "evaluation_metadata.jsonl has them, and not the prompt itself.",
            "Only the counting task penalises extra objects; in the other tasks extra objects, and "
            "objects of other classes, cost nothing.",
            "The encoder only classifies colours. The detector sees the image resized by OpenCV to "
            "fit 1333x800, in float32 for any --dtype.",
            "Upstream reads files with OpenCV, which drops transparency; here images are made "
            "RGB by Pillow.",
        ),
    )
    graded = strict.model_copy(
        update={
            "name": f"geneval{suffix}-graded",
            "summary": "The image shows more of the objects that its GenEval prompt asks for.",
            "unit": "share of what is asked for",
            "notes": (
                f"It is 1 exactly where geneval{suffix} is 1; otherwise it is the mean of the "
                "credits of the clauses. The formula is our own, in rewardkit/geneval/rules.py.",
                *strict.notes,
            ),
        }
    )
    return strict, graded


@register(
    *_cards(
        "",
        CONVERTED,
        "The verdicts of upstream, with its detector converted to the Mask2Former of transformers: "
        "mmdet and mmcv are not needed.",
    ),
    *_cards(
        "-hf",
        META,
        "Not GenEval's numbers: the detector has the weights that Meta trained, not those that "
        "upstream uses, and at the thresholds 0.3 and 0.9 they differ.",
    ),
)
class GenEval(Reward):
    """The verdict or the partial credit that GenEval's rules give to the detected objects."""

    def __init__(
        self, card: RewardCard, detector: ObjectDetector, colours: ColourClassifier
    ) -> None:
        self.card = card
        self.extractor = detector
        self._colours = colours

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> GenEval:
        """Loads the detector and CLIP, which all of these rewards share."""
        from rewardkit.engine.encoders import ClipEncoder

        (weights,) = card.weights
        assert isinstance(weights, PinnedFile)
        encoder = ClipEncoder.shared(VIT_L_14, loader)
        return cls(
            card,
            loader.shared(weights, lambda: ObjectDetector.load(weights, loader)),
            loader.shared(ColourClassifier, lambda: ColourClassifier(encoder)),
        )

    @classmethod
    def check_line(cls, prompt: str, meta: Mapping[str, Any]) -> None:
        """Refuse a line that is not one of GenEval's.

        Raises:
            InputError: the line is not one of GenEval's.
        """
        from rewardkit.geneval.metadata import parse_metadata

        parse_metadata(meta)

    def score(self, batch: Batch, features: Sequence[Detections]) -> torch.Tensor:
        """The score of each image for the line of its prompt, float32 `[B]`.

        Raises:
            InputError: a line is not one of GenEval's.
        """
        import torch

        from rewardkit.geneval.metadata import parse_metadata
        from rewardkit.geneval.rules import credit, judge

        graded = self.card.name.endswith("-graded")
        scores = []
        for line, found in zip(batch.meta, features, strict=True):
            wanted = parse_metadata(line)
            colour_of = self._colours.of(found.picture, found.boxes, found.masks)
            if graded:
                scores.append(credit(wanted, found.boxes, colour_of))
            else:
                scores.append(float(judge(wanted, found.boxes, colour_of).correct))
        return torch.tensor(scores, dtype=torch.float32)
