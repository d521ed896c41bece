"""VBench's dimensions of one clip: aesthetic quality, consistency of subject and background.

Huang et al. 2023, https://arxiv.org/abs/2311.17982. Its temporal flickering is `temporal-stability`
(`motion.py`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, final

from rewardkit.engine.card import EncoderSpec, RewardCard
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.frames import FrameExtractor, FrameFeatures, FrameMean
from rewardkit.engine.openai_clip import VIT_B_32, VIT_L_14
from rewardkit.engine.preprocess import (
    CLIP_NORMALIZE,
    CenterCrop,
    Normalize,
    Resize,
    Steps,
    ToFloat,
    apply,
    split,
)
from rewardkit.engine.registry import entry, register
from rewardkit.engine.reward import Reward
from rewardkit.media.batch import Batch, Sample
from rewardkit.rewards.laion_aesthetic import LaionAesthetic
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.encoders import ClipFeatures
    from rewardkit.engine.loader import Loader

_UPSTREAM = (
    "https://github.com/Vchitect/VBench/blob/45e79ec14e69a2187202c675d2dbce1a71843d53/vbench/"
)
_PAPER = "https://arxiv.org/abs/2311.17982"
# Frames are floats before the resize, which is not antialiased and may leave 0..1.
_CLIP: Steps = (
    ToFloat(),
    Resize(224, "shortest", "bicubic", "tensor", antialias=False),
    CenterCrop(224),
    CLIP_NORMALIZE,
)
DINO_STEPS: Steps = (
    ToFloat(),
    Resize(224, "shortest", "bilinear", "tensor", antialias=False),
    Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
_DINO = PinnedFile(
    name="dino.vit-b-16",
    repo="timm/vit_base_patch16_224.dino",
    files=("model.safetensors",),
    licence="Apache-2.0",
)
_FRAMES = "Every frame is looked at, whatever the frame rate."
_STILL = "A still video scores 1.0, the maximum: alone it is a reward for freezing."
_CONSISTENCY = (
    "Each frame after the first: the mean of its cosines with the first frame and with the one "
    "before it, negative ones taken as 0.",
    "VBench's result of a model is the mean over frames, not over videos; on several GPUs subject "
    "consistency is the mean over videos.",
)


def _with_steps(encoder: EncoderSpec) -> EncoderSpec:
    """An encoder of CLIP with VBench's preprocessing."""
    return encoder.model_copy(update={"preprocess": _CLIP})


def _card(name: str, summary: str, file: str, *notes: str, **fields: Any) -> RewardCard:
    return RewardCard(
        name=name,
        summary=summary,
        inputs=("video",),
        licence_code="Apache-2.0",
        paper=_PAPER,
        upstream=_UPSTREAM + file,
        notes=(*notes, _FRAMES),
        **fields,
    )


_RATING = entry("laion-aesthetic.v1-l-14").card


@register(
    _card(
        "aesthetic-quality",
        "People like to look at the frames (predicted rating).",
        "aesthetic_quality.py",
        "The mean over frames of laion-aesthetic.v1-l-14 with VBench's resize, divided by 10.",
        "Motion does not count: a still video scores as its picture does.",
        unit="rating / 10",
        range=(None, None),
        encoder=_with_steps(VIT_L_14),
        weights=_RATING.weights,
        trained_on=_RATING.trained_on,
    )
)
@final
class AestheticQuality(FrameMean):
    """VBench's aesthetic quality."""

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads the rating of one frame."""
        return cls(card, LaionAesthetic.load(card, loader), loader)

    def score(self, batch: Batch, features: FrameFeatures) -> torch.Tensor:
        """The mean rating of a clip's frames over 10, float32."""
        return super().score(batch, features) / 10


def consistency(embeddings: torch.Tensor) -> float:
    """The mean of (cos(f_i, f_{i-1}) + cos(f_i, f_0)) / 2 over frames i >= 1, cosines at least 0.

    Args:
        embeddings: of a clip's frames, `[F, D]`, F >= 2.

    Source: VBench `subject_consistency.py` and `background_consistency.py`.
    """
    from torch.nn.functional import normalize

    unit = normalize(embeddings.double(), dim=-1)
    before = (unit[1:] * unit[:-1]).sum(dim=-1).clamp(min=0)
    first = (unit[1:] * unit[0]).sum(dim=-1).clamp(min=0)
    return float(((before + first) / 2).mean())


class Consistency(Reward):
    """How alike the embeddings of a clip's frames are."""

    def __init__(self, card: RewardCard, pictures: Extractor, loader: Loader) -> None:
        self.card = card
        self.extractor = FrameExtractor.shared(pictures, card.fps, loader, at_least=2)

    @staticmethod
    @abstractmethod
    def embeddings(features: Any) -> torch.Tensor:
        """The embeddings `[B, D]` in features of pictures."""

    def score(self, batch: Batch, features: FrameFeatures) -> torch.Tensor:
        """`consistency` of each clip, float32."""
        import torch

        frames = torch.cat([self.embeddings(chunk) for chunk in features.chunks])
        clips = torch.split(frames, list(features.counts))
        return torch.tensor([consistency(clip) for clip in clips])


@register(
    _card(
        "background-consistency",
        "The scene stays the same: frames have similar CLIP embeddings.",
        "background_consistency.py",
        *_CONSISTENCY,
        _STILL,
        unit="mean cosine",
        range=(0.0, 1.0),
        encoder=_with_steps(VIT_B_32),
        trained_on=("WIT-400M (OpenAI)",),
    )
)
@final
class BackgroundConsistency(Consistency):
    """The consistency of CLIP's image embeddings."""

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads CLIP."""
        from rewardkit.engine.encoders import ClipEncoder

        assert card.encoder is not None
        return cls(card, ClipEncoder.shared(card.encoder, loader), loader)

    @staticmethod
    def embeddings(features: ClipFeatures) -> torch.Tensor:
        """CLIP's image embeddings."""
        return features.image


@register(
    _card(
        "subject-consistency",
        "The subject keeps its looks: frames have similar DINO embeddings.",
        "subject_consistency.py",
        *_CONSISTENCY,
        _STILL,
        "Frames keep their aspect ratio; DINO's positions are interpolated as its authors do it.",
        unit="mean cosine",
        range=(0.0, 1.0),
        preprocess=DINO_STEPS,
        weights=(_DINO,),
        trained_on=("ImageNet-1k, without labels (DINO)",),
    )
)
@final
class SubjectConsistency(Consistency):
    """The consistency of DINO's class tokens."""

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads DINO."""
        return cls(card, DinoEncoder.shared(card, loader), loader)

    @staticmethod
    def embeddings(features: torch.Tensor) -> torch.Tensor:
        """DINO's class tokens."""
        return features


class DinoEncoder(Extractor):
    """DINO's class token of a picture that keeps its aspect ratio."""

    def __init__(self, card: RewardCard, loader: Loader) -> None:
        from rewardkit.weights.nets.dino import BASE, TINY, DinoTransformer

        self._per_picture, self._per_batch = split(card.preprocess)
        self._device, self._dtype = loader.device, loader.dtype
        config = TINY if loader.tiny else BASE
        network = loader.module(lambda: DinoTransformer(**config), card.weights[0])
        self._network = network.to(loader.device, loader.dtype)

    @classmethod
    def shared(cls, card: RewardCard, loader: Loader) -> DinoEncoder:
        """The same object for every reward that asks for its weights."""
        return loader.shared((cls, card.weights), lambda: cls(card, loader))

    def prepare(self, sample: Sample) -> torch.Tensor:
        """The picture with its short side at 224, `[3, h, w]`."""
        return apply(self._per_picture, sample.picture)

    def features(self, prepared: Sequence[torch.Tensor]) -> torch.Tensor:
        """Class tokens, float32 `[B, D]`; pictures of one size go through the network together."""
        import torch

        places: dict[torch.Size, list[int]] = {}
        for index, pixels in enumerate(prepared):
            places.setdefault(pixels.shape, []).append(index)
        tokens: dict[int, torch.Tensor] = {}
        for indices in places.values():
            pixels = torch.stack([prepared[index] for index in indices]).to(self._device)
            found = self._network(apply(self._per_batch, pixels).to(self._dtype))
            tokens.update(zip(indices, found.float(), strict=True))
        return torch.stack([tokens[index] for index in range(len(prepared))])
