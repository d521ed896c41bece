"""Rewards with their weights loaded: `create` loads one by its name, `scorer` several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import resolve
from rewardkit.engine.reward import Reward
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec, RewardTerm, parse
from rewardkit.service import Endpoint

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.card import RewardCard


@final
class LoadedReward:
    """One reward, its weights loaded: `reward(media, prompts) -> float32 [B]`, higher is better.

    Attributes:
        reward: what computes the scores.
    """

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        name = reward.card.name
        self._scorer = Scorer(RewardSpec((RewardTerm(name),)), {name: reward})

    @property
    def card(self) -> RewardCard:
        """What the reward needs and returns."""
        return self.reward.card

    def __call__(
        self,
        media: Any,
        prompts: str | Sequence[str | None] | None = None,
        meta: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        references: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> torch.Tensor:
        """Scores, float32 `[B]` on the CPU; arguments as for `rewardkit.media.batch.Batch.of`.

        Raises:
            UsageError: the media or prompts are not what is accepted.
            ScoringError: naming the first sample that cannot be scored.
        """
        return self._scorer(media, prompts, meta, references=references)[self.card.name]

    def __repr__(self) -> str:
        return repr(self.reward)


def create(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, str | Path] | None = None,
    endpoint: Endpoint | None = None,
) -> LoadedReward:
    """One reward, its weights loaded: `create("clip.vit-l-14")(images, prompts)`.

    Args:
        name: a registered name, a bare family, FILE.py:NAME, clip:owner/name, or judge:FILE.toml.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "float32", "bfloat16" or "float16", of the networks.
        weights: local files instead of the hub's, by the names that `rewardkit show` prints.
        endpoint: of the service that rewards such as `judge` call.

    Raises:
        UsageError: no such reward, device or dtype.
        WeightsError: its weights cannot be had or do not fit.
    """
    loaded = scorer(name, device=device, dtype=dtype, weights=weights, endpoint=endpoint)
    return LoadedReward(loaded.rewards[resolve(name)])


def scorer(
    spec: str,
    *,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, str | Path] | None = None,
    endpoint: Endpoint | None = None,
) -> Scorer:
    """A scorer of a reward spec such as "hps+clip"; arguments and errors as for `create`."""
    return Scorer.load(parse(spec, resolve), Loader(device, dtype, weights, endpoint=endpoint))
