"""LAION's aesthetic predictors: how much people like to look at an image, from 1 to 10.

A head on the unit image embedding of OpenAI's CLIP. No paper; LAION's account of both versions is
https://laion.ai/blog/laion-aesthetics/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.card import EncoderSpec, PublishedScore, RewardCard
from rewardkit.engine.openai_clip import VIT_B_16, VIT_B_32, VIT_L_14
from rewardkit.engine.registry import register
from rewardkit.engine.reward import Reward
from rewardkit.media.batch import Batch
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.encoders import ClipEncoder, ClipFeatures
    from rewardkit.engine.loader import Loader

_V1 = "LAION-AI/aesthetic-predictor"
_V1_COMMIT = "6d122adad522ab246644d9dc1c6d7a3810ee255f"
_V2 = "christophschuhmann/improved-aesthetic-predictor"
_V2_COMMIT = "6934dd81792f086e613a121dbce43082cb8be85e"
# The predictor as a transformers model, whose tests state a score of an image they ship.
_PORT = "shunk031/simple-aesthetics-predictor"
_PORT_COMMIT = "717b9412258688ba0d5951d5b8ea764f6aab5afe"

_QUICK_GELU = (
    "OpenAI's weights need QuickGELU; with GELU the same image scores 4.44 instead of 5.05."
)
_UNIT_NORM = "The embedding is made a unit vector first; without that, scores are 20 to 30."


def head_v1(width: int) -> torch.nn.Module:
    """The head of v1: one affine map, embedding `[B, width]` to score `[B, 1]`."""
    from torch import nn

    return nn.Linear(width, 1)


def head_v2(width: int) -> torch.nn.Module:
    """The head of v2: five affine maps with nothing between them, hence again an affine map.

    It was trained with dropout after the first three, which takes a place in the names of the
    weights (`layers.0`, `.2`, `.4`, `.6`, `.7`) and does nothing when scoring.
    """
    from collections import OrderedDict

    from torch import nn

    layers = nn.Sequential(
        nn.Linear(width, 1024),
        nn.Dropout(0.2),
        nn.Linear(1024, 128),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.Dropout(0.1),
        nn.Linear(64, 16),
        nn.Linear(16, 1),
    )
    return nn.Sequential(OrderedDict(layers=layers))


def _card(
    tag: str,
    encoder: EncoderSpec,
    head: PinnedFile,
    data: tuple[str, ...],
    upstream: str,
    *notes: str,
    typical: tuple[float, float] | None = None,
    published: tuple[PublishedScore, ...] = (),
) -> RewardCard:
    return RewardCard(
        name=f"laion-aesthetic.{tag}",
        summary="People like to look at the image (predicted rating).",
        inputs=("image",),
        differentiable=True,
        unit="rating, 1 to 10",
        range=(None, None),
        typical=typical,
        encoder=encoder,
        weights=(head,),
        licence_code=head.licence,
        paper="https://laion.ai/blog/laion-aesthetics/",
        upstream=upstream,
        trained_on=("WIT-400M (OpenAI)", *data),
        published=published,
        notes=(
            *notes,
            _UNIT_NORM,
            _QUICK_GELU,
            "Papers that report an aesthetic score often do not say which of the heads it is.",
        ),
    )


def _card_v1(tag: str, encoder: EncoderSpec, file: str, sha256: str) -> RewardCard:
    head = PinnedFile(
        name=f"laion-aesthetic.v1-{tag}",
        repo=_V1,
        host="github",
        files=(file,),
        revision=_V1_COMMIT,
        sha256=sha256,
        licence="MIT",
    )
    return _card(
        f"v1-{tag}",
        encoder,
        head,
        ("Simulacra Aesthetic Captions (the first 5000 ratings)",),
        f"https://github.com/{_V1}/blob/{_V1_COMMIT}/README.md",
        "An affine function of a unit vector: its values reach beyond 0 and 10.",
        "The 4.0330 that upstream's notebook prints cannot be reproduced with these weights.",
    )


_HEAD_V2 = PinnedFile(
    name="laion-aesthetic.v2",
    repo=_V2,
    host="github",
    files=("sac+logos+ava1-l14-linearMSE.pth",),
    revision=_V2_COMMIT,
    sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
    licence="Apache-2.0",
)
_ASTRONAUT = "assets/a-photo-of-an-astronaut-riding-a-horse.png"


@register(
    _card_v1(
        "b-16",
        VIT_B_16,
        "sa_0_4_vit_b_16_linear.pth",
        "8ad3923d7ecf019df20ecd2ab5542a3075fbba0278d239c0371345f3d7fcbde0",
    ),
    _card_v1(
        "b-32",
        VIT_B_32,
        "sa_0_4_vit_b_32_linear.pth",
        "c7b14cead230694acc7b9447974d3cad78003c72da032e402a303b6c2429e85f",
    ),
    _card_v1(
        "l-14",
        VIT_L_14,
        "sa_0_4_vit_l_14_linear.pth",
        "2cd4e60f4f24ae3bcd57b847b13c1f3ba27edc28cc1a7f9ce74ee9f421243cba",
    ),
    _card(
        "v2",
        VIT_L_14,
        _HEAD_V2,
        ("Simulacra Aesthetic Captions", "LAION-Logos", "AVA 1.0"),
        f"https://github.com/{_V2}/blob/{_V2_COMMIT}/simple_inference.py",
        'The head sac+logos+ava1-l14-linearMSE, which most trainers mean by "aesthetic"; it is '
        "affine, for its layers have no activation between them.",
        "Typical: images of text-to-image models.",
        typical=(4.5, 7.0),
        published=(
            PublishedScore(
                picture="a-photo-of-an-astronaut-riding-a-horse.png",
                sha256="59e7267a6e55a65ce809e4d1eb89a5e7743e24bba43e10a63018ff2ab97f1dd7",
                url=f"https://raw.githubusercontent.com/{_PORT}/{_PORT_COMMIT}/{_ASTRONAUT}",
                prompt=None,
                value=5.7546,
                tolerance=0.02,
                source=f"https://github.com/{_PORT}/blob/{_PORT_COMMIT}/tests/aesthetics_predictor_v2_test.py",
            ),
        ),
    ),
    default="laion-aesthetic.v2",
)
class LaionAesthetic(Reward):
    """The head of the card, on the features' image embedding."""

    def __init__(self, card: RewardCard, encoder: ClipEncoder, head: torch.nn.Module) -> None:
        self.card = card
        self.extractor = encoder
        # Of the same float32 as the embedding it reads, whatever the encoder computes in.
        self.head = head

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> LaionAesthetic:
        """Loads the encoder and the head that the card names."""
        from rewardkit.engine.encoders import ClipEncoder

        assert card.encoder is not None
        encoder = ClipEncoder.shared(card.encoder, loader)
        build = head_v2 if card.name == "laion-aesthetic.v2" else head_v1
        head = loader.module(lambda: build(encoder.dim), card.weights[0])
        return cls(card, encoder, head.to(loader.device))

    def score(self, batch: Batch, features: ClipFeatures) -> torch.Tensor:
        """`head(image)`, float32."""
        scores: torch.Tensor = self.head(features.image).squeeze(-1)
        return scores
