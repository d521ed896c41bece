"""Human Preference Score v2: which of several images of one prompt people prefer.

Wu et al. 2023, https://arxiv.org/abs/2306.09341: CLIP ViT-H-14 fine-tuned on human choices. The
cosine itself, as `hpsv2.score` returns it: no logit scale, no factor 100.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.engine.card import EncoderSpec, PublishedScore, RewardCard
from rewardkit.engine.preprocess import CLIP_NORMALIZE, Pad, Resize, Steps, ToFloat
from rewardkit.engine.registry import register
from rewardkit.engine.reward import EncodedReward
from rewardkit.media.batch import Batch
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.encoders import ClipFeatures

_UPSTREAM = "https://github.com/tgxs002/HPSv2"
_COMMIT = "866735ecaae999fa714bd9edfa05aa2672669ee3"
_HPD = "HPD v2 (645 thousand comparisons), from LAION-2B's CLIP"
_HPD_AND_MORE = "HPD v2 and further data that is not named, from LAION-2B's CLIP"


def preprocess(antialias: bool) -> Steps:
    """The whole image, longest side to 224, on black: padded before normalisation, not after.

    The resize works on floats, where cubic interpolation may leave 0..1; nothing clamps it.
    """
    return (
        ToFloat(),
        Resize(224, "longest", "bicubic", "tensor", antialias),
        Pad(224),
        CLIP_NORMALIZE,
    )


def _encoder(version: str, file: str, antialias: bool) -> EncoderSpec:
    weights = PinnedFile(
        name=f"hps.{version}", repo="xswu/HPSv2", files=(file,), licence="Apache-2.0"
    )
    return EncoderSpec(architecture="ViT-H-14", weights=weights, preprocess=preprocess(antialias))


V2_0 = _encoder("v2.0", "HPS_v2_compressed.pt", antialias=True)
V2_1 = _encoder("v2.1", "HPS_v2.1_compressed.pt", antialias=True)
V2_1_2023 = _encoder("v2.1", "HPS_v2.1_compressed.pt", antialias=False)


def _demo(prompt: str, value: float, issue: int) -> PublishedScore:
    return PublishedScore(
        picture="demo_image.jpg",
        sha256="798dfb5bc544fca70ea15d21571530c4389a25536d6a511e0b0c915b0aba144d",
        url=f"https://raw.githubusercontent.com/tgxs002/HPSv2/{_COMMIT}/hpsv2/assets/demo_image.jpg",
        prompt=prompt,
        value=value,
        # In 2023's half precision scores lay 2.4e-4 apart, and the antialiasing is not told.
        tolerance=0.002,
        source=f"{_UPSTREAM}/issues/{issue}",
    )


def _card(
    name: str,
    encoder: EncoderSpec,
    typical: tuple[float, float],
    data: str,
    published: PublishedScore,
    *notes: str,
) -> RewardCard:
    return RewardCard(
        name=name,
        summary="People prefer the image to others of the same prompt (cosine of HPS v2).",
        inputs=("image",),
        needs_prompt=True,
        differentiable=True,
        unit="cosine",
        range=(-1.0, 1.0),
        typical=typical,
        encoder=encoder,
        licence_code="Apache-2.0",
        paper="https://arxiv.org/abs/2306.09341",
        upstream=f"{_UPSTREAM}/blob/{_COMMIT}/hpsv2/img_score.py",
        trained_on=(data,),
        published=(published,),
        notes=(
            *notes,
            "Typical: the means of weak and strong generators in upstream's benchmark table, which "
            "prints 100 times the score.",
            "Compare images of one prompt only, and never v2.0 with v2.1 (upstream's README).",
            "On CUDA upstream computes in half precision, where scores between 0.25 and 0.5 lie "
            "2.4e-4 apart; here the last product is float32 on every device.",
            "Upstream does not pad an image whose long side is exactly 224, and its network then "
            "refuses it; here it is padded like any other.",
            "Upstream refuses images with transparency; here they are made RGB first.",
            "Prompts longer than 77 tokens are cut; the end-of-text token is kept.",
            "Upstream takes an empty prompt; here it counts as missing.",
        ),
    )


_CAT = _demo("cat with horn", 0.288, 30)


@register(
    _card(
        "hps.v2.0",
        V2_0,
        (0.235, 0.279),
        _HPD,
        _demo("A cat with two horns on its head", 0.2876, 27),
        "The default of upstream's `score`; that of its benchmark and of this family is v2.1.",
    ),
    _card(
        "hps.v2.1",
        V2_1,
        (0.145, 0.313),
        _HPD_AND_MORE,
        _CAT,
        "The resize is antialiased, as torchvision does it since 0.17 where, as in upstream's "
        "code, nothing is said; hps.v2.1-2023 is without.",
    ),
    _card(
        "hps.v2.1-2023",
        V2_1_2023,
        (0.145, 0.313),
        _HPD_AND_MORE,
        _CAT,
        "hps.v2.1 with the resize that torchvision did before 0.17 (January 2024), not "
        "antialiased: that of the time the weights were trained in.",
        "The weights are those of hps.v2.1 and go by that name (--weights hps.v2.1=PATH).",
    ),
    default="hps.v2.1",
)
class HpsReward(EncodedReward):
    """The cosine of the features' image and text embeddings."""

    def score(self, batch: Batch, features: ClipFeatures) -> torch.Tensor:
        """`cos(image, prompt)`, float32."""
        return features.cosine(batch.prompts)
