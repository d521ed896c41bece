"""GenEval: the picture shows the objects that its prompt names, so many, so coloured, so placed.

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
from rewardkit.geneval.detector import BATCH_SIZE, META, Detections, Detector
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
        summary="The picture shows the objects that GenEval's prompt asks for, as it asks.",
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
        trained_on=("COCO 2017 (the detector)", "OpenAI's pictures and texts (CLIP)"),
        notes=(
            *notes,
            "It reads the keys tag, include and exclude of the prompt's line, as GenEval's "
            "evaluation_metadata.jsonl has them, and not the prompt itself.",
            "Only the counting task minds what is too much; elsewhere more objects, and objects of "
            "other classes, cost nothing.",
            "The encoder tells colours alone. The detector sees the picture resized by OpenCV into "
            "1333x800, in float32 whatever --dtype says.",
            "Upstream reads files with OpenCV, which drops transparency; here pictures are made "
            "RGB by Pillow.",
        ),
    )
    graded = strict.model_copy(
        update={
            "name": f"geneval{suffix}-graded",
            "summary": "The picture shows more of the objects that GenEval's prompt asks for.",
            "unit": "share of what is asked for",
            "notes": (
                f"1 exactly where geneval{suffix} is; between, the mean over what each clause asks "
                "for. The formula is our own, in rewardkit/geneval/rules.py.",
                *strict.notes,
            ),
        }
    )
    return strict, graded


@register(
    *_cards(
        "",
        CONVERTED,
        "Upstream's verdicts, by upstream's detector in transformers' Mask2Former: no mmdet and no "
        "mmcv is needed.",
    ),
    *_cards(
        "-hf",
        META,
        "Not GenEval's numbers: the detector has the weights that Meta trained, not those that "
        "upstream uses, and at the thresholds 0.3 and 0.9 they differ.",
    ),
)
class GenEval(Reward):
    """The verdict, or the credit, of GenEval's rules on what the detector found."""

    def __init__(self, card: RewardCard, detector: Detector, colours: ColourClassifier) -> None:
        self.card = card
        self.extractor = detector
        self._colours = colours

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> GenEval:
        """With the detector and CLIP, which all of these rewards share."""
        from rewardkit.engine.encoders import ClipEncoder

        (weights,) = card.weights
        assert isinstance(weights, PinnedFile)
        encoder = ClipEncoder.shared(VIT_L_14, loader)
        return cls(
            card,
            loader.shared(weights, lambda: Detector.load(weights, loader)),
            loader.shared(ColourClassifier, lambda: ColourClassifier(encoder)),
        )

    @classmethod
    def check_line(cls, prompt: str, meta: Mapping[str, Any]) -> None:
        """Refuse a line that is not one of GenEval's.

        Raises:
            InputError: it is not.
        """
        from rewardkit.geneval.metadata import parse_metadata

        parse_metadata(meta)

    def score(self, batch: Batch, features: Sequence[Detections]) -> torch.Tensor:
        """The verdict on each picture by the line of its prompt, float32 `[B]`.

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
