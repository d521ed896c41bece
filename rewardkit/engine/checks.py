"""Checks of what a reward needs of a sample, and of the scores that it returns."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

from rewardkit.engine.card import RewardCard
from rewardkit.errors import InputError, RewardKitError, ScoringError
from rewardkit.media.batch import Kind

if TYPE_CHECKING:
    import torch


class BrokenReward(RewardKitError):
    """A reward broke the contract of rewards, for any sample."""


def wrong_kind(card: RewardCard, kind: Kind) -> InputError | None:
    """The error if the reward does not take this kind of medium; None if it does."""
    if kind in card.inputs:
        return None
    medium = {"image": "an image", "video": "a video"}[kind]
    return InputError(f"{card.name} takes {card.takes}; {medium} was given")


def lacks_prompt(card: RewardCard, prompt: str | None, meta: Mapping[str, Any]) -> bool:
    """Whether the reward needs a prompt and the sample has neither it nor what can replace it."""
    has_prompt = (prompt and prompt.strip()) or card.prompt_key in meta
    return card.needs_prompt and not has_prompt


def prompt_needed(card: RewardCard) -> str:
    """What `lacks_prompt` is about, for people."""
    if card.prompt_key is None:
        return "a prompt"
    return f"a prompt, or the key {card.prompt_key} of its line,"


def missing(
    card: RewardCard, prompt: str | None, meta: Mapping[str, Any], references: Container[str]
) -> InputError | None:
    """The error of a sample that lacks an input of the reward; None if it has all of them."""
    if lacks_prompt(card, prompt, meta):
        return InputError(f"{card.name} needs {prompt_needed(card)} and this sample has none")
    absent = [key for key in card.needs_meta if key not in meta]
    if absent:
        return InputError(f"{card.name} needs the keys {', '.join(absent)} of the prompt's line")
    absent = [name for name in card.needs_references if name not in references]
    if absent:
        return InputError(
            f"{card.name} compares with reference media, and this sample has no "
            f"{' and no '.join(absent)}"
        )
    return None


def check_scores(card: RewardCard, scores: torch.Tensor, size: int) -> torch.Tensor:
    """Scores as float32 `[B]` on the CPU.

    Raises:
        BrokenReward: the reward did not return one number per sample.
        ScoringError: a score is not finite.
    """
    import torch

    if not isinstance(scores, torch.Tensor) or scores.shape != (size,):
        returned = list(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise BrokenReward(
            f"{card.name} must return one score per sample, a tensor [{size}]; "
            f"it returned {returned}"
        )
    scores = scores.detach().to("cpu", torch.float32)
    bad = (~scores.isfinite()).nonzero().flatten().tolist()
    if bad:
        value = float(scores[bad[0]])
        raise ScoringError(bad[0], RewardKitError(f"{card.name} returned {value}"))
    return scores
