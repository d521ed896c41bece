"""Scores with a gradient to the pixels, for training that back-propagates through rewards.

They come from the networks, constants and formulas of the ordinary scores, and are for losses only:
scores that are reported come from `Scorer`. `rewardkit.engine.straight_through` says what of the
preprocessing has no gradient, and how it is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rewardkit.engine.extractor import DifferentiableExtractor, Extractor
from rewardkit.engine.registry import entry, list_rewards
from rewardkit.engine.reward import Reward
from rewardkit.engine.spec import RewardSpec
from rewardkit.errors import UsageError
from rewardkit.media.batch import Batch, Sample

if TYPE_CHECKING:
    import torch


def check_differentiable(spec: RewardSpec) -> None:
    """Refuse terms that have no gradient to the pixels; nothing is loaded.

    Raises:
        UsageError: naming the first of them, and the rewards that have one.
    """
    for term in spec.terms:
        if term.threshold is not None:
            raise UsageError(
                f"{term} is 0 or 1 and has no gradient to the pixels. Use {term.name} without the "
                "threshold"
            )
        if not entry(term.name).card.differentiable:
            names = ", ".join(card.name for card in list_rewards() if card.differentiable)
            raise UsageError(
                f"{term.name} has no gradient to the pixels. These rewards have one: {names}"
            )


def differentiable_scores(
    spec: RewardSpec, rewards: Mapping[str, Reward], pixels: torch.Tensor, samples: Sequence[Sample]
) -> dict[str, torch.Tensor]:
    """Raw scores by reward name, float32 `[B]`, with a gradient to the pixels.

    Args:
        spec: the rewards.
        rewards: the loaded rewards, by name.
        pixels: `[B, 3, H, W]` of images, `[B, F, 3, H, W]` of clips, floats in 0..1.
        samples: prompt and meta of each; their media are not read.

    Raises:
        UsageError: a reward has no gradient to the pixels.
    """
    check_differentiable(spec)
    batch, features = Batch(list(samples)), dict[Extractor, Any]()
    scores = {}
    for name in spec.names:
        extractor = rewards[name].extractor
        assert isinstance(extractor, DifferentiableExtractor)  # its card says so
        if extractor not in features:
            features[extractor] = extractor.differentiable_features(pixels)
        scores[name] = rewards[name].score(batch, features[extractor])
    return scores
