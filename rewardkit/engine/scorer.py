"""Several rewards as one: shared encoders run once, a bad sample costs only itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rewardkit.engine.card import RewardCard
from rewardkit.engine.loader import Loader, check_overrides
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.reward import (
    BrokenReward,
    Extractor,
    GroupReward,
    Reward,
    check_kind,
    check_scores,
    missing,
)
from rewardkit.engine.spec import RewardSpec, parse
from rewardkit.errors import ScoringError, UsageError
from rewardkit.media.batch import Batch, Medium

if TYPE_CHECKING:
    import torch

# What one sample became in the loader thread: per extractor what it prepared, or the error it met.
Prepared: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True)
class Scored:
    """The outcome of one sample.

    Attributes:
        scores: raw score by reward name; None where that reward failed.
        errors: why, by reward name.
    """

    scores: dict[str, float | None]
    errors: dict[str, Exception]


class Scorer:
    """Computes every reward of a spec on batches of media.

    Use `rewardkit.scorer("clip+sharpness")`; `scorer(images, prompts) -> {name: float32 [B]}`.
    """

    def __init__(self, spec: RewardSpec, rewards: Mapping[str, Reward]) -> None:
        self.spec = spec
        self.rewards = {name: rewards[name] for name in spec.names}
        # Each extractor once, with the card of the first reward that reads it.
        self._extractors: list[tuple[Extractor, RewardCard]] = []
        for reward in self.rewards.values():
            if not any(reward.extractor is known for known, _ in self._extractors):
                self._extractors.append((reward.extractor, reward.card))

    @classmethod
    def load(cls, spec: RewardSpec, loader: Loader) -> Scorer:
        """A scorer whose rewards share what `loader` loads."""
        entries = [entry(name) for name in spec.names]
        check_overrides(loader.overrides, [e.card for e in entries])
        return cls(spec, {e.card.name: e.cls.load(e.card, loader) for e in entries})

    def __call__(
        self,
        media: Sequence[Any],
        prompts: str | Sequence[str | None] | None = None,
        meta: Sequence[Mapping[str, Any]] | None = None,
        groups: Sequence[int] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Raw scores by reward name, float32 `[B]` on the CPU.

        Args:
            media: anything `rewardkit.media.batch.to_medium` takes.
            prompts: one per medium, or one for all.
            meta: other keys of each medium's manifest line.
            groups: for a `GroupReward`, the group each sample belongs to.

        Raises:
            ScoringError: naming the first sample that cannot be scored, and why.
        """
        import torch

        batch = Batch.of(media, prompts, meta)
        assert batch.media is not None
        prepared = [self.prepare(medium) for medium in batch.media]
        scored = self.score(prepared, batch.prompts, batch.meta, groups)
        for index, sample in enumerate(scored):
            for error in sample.errors.values():
                raise ScoringError(index, error) from error
        return {name: torch.tensor([s.scores[name] for s in scored]) for name in self.rewards}

    def prepare(self, medium: Medium) -> Prepared:
        """The CPU half for one sample; called from loader threads.

        An extractor's error stands in its place, so that other rewards still get their score.
        """
        return tuple(_try_prepare(*reader, medium) for reader in self._extractors)

    def score(
        self,
        prepared: Sequence[Prepared],
        prompts: Sequence[str | None],
        meta: Sequence[Mapping[str, Any]],
        groups: Sequence[int] | None = None,
    ) -> list[Scored]:
        """The batched half: every sample's outcome, failures recorded beside the scores.

        Where a batch as a whole fails (one sample a reward cannot take, memory that does not
        suffice), its samples are scored one by one, so that only the culprits fail.
        """
        outcomes = [Scored(dict.fromkeys(self.rewards), {}) for _ in prepared]
        applicable: dict[tuple[str, ...], list[int]] = {}
        for index, outcome in enumerate(outcomes):
            for name, reward in self.rewards.items():
                problem: Exception | None = missing(reward.card, prompts[index], meta[index])
                half = prepared[index][self._slot(reward.extractor)]
                if isinstance(half, Exception):
                    problem = half
                if problem is not None:
                    outcome.errors[name] = problem
            names = tuple(name for name in self.rewards if name not in outcome.errors)
            applicable.setdefault(names, []).append(index)

        for names, indices in applicable.items():
            samples = _Samples(prepared, prompts, meta, indices)
            for name in names:
                reward = self.rewards[name]
                for part in self._parts(reward, indices, groups):
                    _score_into(outcomes, reward, self._slot(reward.extractor), samples.take(part))
        return outcomes

    def _slot(self, extractor: Extractor) -> int:
        return next(i for i, (known, _) in enumerate(self._extractors) if known is extractor)

    def _parts(
        self, reward: Reward, indices: list[int], groups: Sequence[int] | None
    ) -> list[list[int]]:
        """The samples to score together: all, or for a `GroupReward` group by group."""
        if not isinstance(reward, GroupReward):
            return [indices]
        if groups is None:
            raise UsageError(
                f"{reward.card.name} compares the samples of a group: give groups, one number per "
                "sample. It serves training, not the scoring of a folder"
            )
        parts: dict[int, list[int]] = {}
        for index in indices:
            parts.setdefault(groups[index], []).append(index)
        return list(parts.values())


class _Samples:
    """Some samples of a batch; their features are computed once per extractor and kept."""

    def __init__(
        self,
        prepared: Sequence[Prepared],
        prompts: Sequence[str | None],
        meta: Sequence[Mapping[str, Any]],
        indices: list[int],
    ) -> None:
        self._all = (prepared, prompts, meta)
        self._features: dict[int, Any] = {}
        self.indices = indices

    def take(self, indices: list[int]) -> _Samples:
        """The samples `indices`; itself where they are the same, so that features are shared."""
        return self if indices == self.indices else _Samples(*self._all, indices)

    def batch(self) -> Batch:
        """The samples without their media."""
        _, prompts, meta = self._all
        return Batch(None, [prompts[i] for i in self.indices], [meta[i] for i in self.indices])

    def features(self, extractor: Extractor, slot: int) -> Any:
        """What `extractor`, which prepared the halves in `slot`, says of the samples."""
        if slot not in self._features:
            halves = [self._all[0][i][slot] for i in self.indices]
            self._features[slot] = extractor.features(halves)
        return self._features[slot]


def _try_prepare(extractor: Extractor, card: RewardCard, medium: Medium) -> Any:
    try:
        check_kind(card, medium)
        return extractor.prepare(medium)
    except Exception as error:  # becomes the error of every reward that reads this extractor
        return error


def _score_into(outcomes: list[Scored], reward: Reward, slot: int, samples: _Samples) -> None:
    """Score `samples` with `reward` and write scores or errors into `outcomes`."""
    name, indices = reward.card.name, samples.indices
    try:
        raw = reward.score(samples.batch(), samples.features(reward.extractor, slot))
        scores = check_scores(reward.card, raw, len(indices))
    except Exception as error:
        # One by one the culprits show; that a reward returns as many scores as it is given
        # samples would only be hidden by it.
        alone = not isinstance(reward, GroupReward) and not isinstance(error, BrokenReward)
        if len(indices) > 1 and alone:
            for index in indices:
                _score_into(outcomes, reward, slot, samples.take([index]))
            return
        cause = error.cause if isinstance(error, ScoringError) else error
        for index in indices:
            outcomes[index].errors[name] = cause
        return
    for index, score in zip(indices, scores.tolist(), strict=True):
        outcomes[index].scores[name] = score


def create(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, str | Path] | None = None,
) -> Reward:
    """One reward, its weights loaded: `create("clip.vit-l-14")(images, prompts)`.

    Args:
        name: a registered name, a bare family, or FILE.py:NAME.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        dtype: "float32", "bfloat16" or "float16", of the networks.
        weights: local files instead of the hub's, by the names `rewardkit show` tells.

    Raises:
        UsageError: no such reward, device or dtype.
        WeightsError: its weights cannot be had or do not fit.
    """
    return scorer(name, device=device, dtype=dtype, weights=weights).rewards[resolve(name)]


def scorer(
    spec: str,
    *,
    device: str = "auto",
    dtype: str = "float32",
    weights: Mapping[str, str | Path] | None = None,
) -> Scorer:
    """A scorer of a reward spec such as "hps+clip"; arguments and errors as for `create`."""
    return Scorer.load(parse(spec, resolve), Loader(device, dtype, weights))
