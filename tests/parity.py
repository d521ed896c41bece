"""What tests of CLIP's rewards compare with upstream's golden files."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import open_clip
import pytest
import torch
from golden.clip import media, tiny, tiny_transformers, until_end
from golden.prompted import PromptedGolden, fill, sample
from transformers import CLIPConfig, CLIPModel

from rewardkit.engine.card import RewardCard
from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.preprocess import Step
from rewardkit.engine.reward import Reward

ATOL = 1e-5
# A mutation must show well above the tolerance.
MOVED = 5 * ATOL


@functools.cache
def upstream_state(dim: int, activation: str | None) -> dict[str, torch.Tensor]:
    """The weights that upstream's small CLIP was given, under open_clip's names or transformers'.

    `activation` is None for the first; for the second it is transformers' name of it.
    """
    with torch.device("meta"):  # names and shapes are all that is needed
        upstream: Any = (
            open_clip.CLIP(**tiny(dim))
            if activation is None
            else CLIPModel(CLIPConfig(**tiny_transformers(dim, activation)))
        )
    return fill(upstream.state_dict())


def check_pixels(reward: Reward, golden: PromptedGolden) -> None:
    """The network's input is upstream's, up to how versions of torch round a resize of floats."""
    pictures = media()
    for case in golden.cases:
        (pixels,) = reward.extractor.pixels([reward.extractor.resized(pictures[case.picture])])
        assert sample(pixels) == pytest.approx(case.pixels, rel=0, abs=1e-5)


def check_tokens(reward: Reward, golden: PromptedGolden, prefix: str = "") -> None:
    """Token ids are upstream's, and nothing but zeros follows them."""
    for case in golden.cases:
        (ids,) = reward.extractor._tokenize([prefix + case.prompt]).tolist()
        assert until_end(ids) == case.ids and not any(ids[len(case.ids) :])
    lengths = {len(case.ids) for case in golden.cases}
    assert min(lengths) < 77 == max(lengths), "one prompt is cut"


def check_scores(reward: Reward, golden: PromptedGolden) -> None:
    """Scores are upstream's, and differ enough for that to mean something."""
    assert len({case.picture for case in golden.cases}) >= 12
    assert golden.spread >= 100 * ATOL
    assert worst(reward, golden) <= ATOL


def worst(reward: Reward, golden: PromptedGolden) -> float:
    """The largest difference between a score and upstream's."""
    pictures = media()
    got = LoadedReward(reward)(
        [pictures[case.picture] for case in golden.cases], [case.prompt for case in golden.cases]
    )
    return float((got - torch.tensor([case.score for case in golden.cases])).abs().max())


def with_step(card: RewardCard, kind: type[Step], **change: Any) -> RewardCard:
    """The card with one step of the preprocessing changed; without it, where nothing is given."""
    steps = tuple(
        dataclasses.replace(step, **change) if isinstance(step, kind) else step
        for step in card.encoder.preprocess
        if change or not isinstance(step, kind)
    )
    return with_encoder(card, preprocess=steps)


def with_encoder(card: RewardCard, **change: Any) -> RewardCard:
    """The card with another encoder."""
    return card.model_copy(update={"encoder": card.encoder.model_copy(update=change)})
