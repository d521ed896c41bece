"""Batches of samples: where they are cut, what is scored together, one attempt at scoring it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rewardkit.engine.checks import check_scores
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.recovery import as_error
from rewardkit.engine.reward import GroupReward, Reward
from rewardkit.media.batch import Batch, Kind, LazySample, Sample


@dataclass(frozen=True)
class SubBatch:
    """Samples of a batch that go through rewards together.

    Attributes:
        indices: of the samples, in the batch.
        names: of the rewards, which all read one extractor.
    """

    indices: tuple[int, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """The outcome of one sample.

    Attributes:
        scores: raw score by reward name; None where that reward failed.
        errors: why, by reward name.
    """

    scores: dict[str, float | None]
    errors: dict[str, Exception]


@dataclass(frozen=True)
class Prepared:
    """What a loader thread made of a sample.

    Attributes:
        sample: without its media; None where it could not be read.
        kind: of its medium; None where it could not be read.
        references: the names of its reference media.
        group: the group it belongs to.
        halves: what each extractor prepared, or the error it met.
        problem: why the sample could not be read.
    """

    sample: Sample | None = None
    kind: Kind | None = None
    references: frozenset[str] = frozenset()
    group: int | None = None
    halves: Mapping[Extractor, Any] = field(default_factory=dict)
    problem: Exception | None = None


def cuts(
    samples: Sequence[LazySample | None], size: int, whole_groups: bool
) -> Iterator[tuple[int, int]]:
    """Where batches of `size` start and stop; with `whole_groups` no group is cut."""
    last = {s.group: i for i, s in enumerate(samples) if s is not None} if whole_groups else {}
    start = reach = 0
    for index, sample in enumerate(samples):
        if sample is not None:
            reach = max(reach, last.get(sample.group, index))
        if (index + 1 - start >= size and index >= reach) or index + 1 == len(samples):
            yield start, index + 1
            start = index + 1


def spread_to_groups(
    batch: Sequence[Prepared], outcomes: Sequence[Outcome], names: Sequence[str]
) -> None:
    """Make one member's error that of its whole group: a `GroupReward` never sees a part of it."""
    for name in names:
        errors: dict[int | None, Exception] = {}
        for prepared, outcome in zip(batch, outcomes, strict=True):
            if name in outcome.errors:
                errors.setdefault(prepared.group, outcome.errors[name])
        for prepared, outcome in zip(batch, outcomes, strict=True):
            if prepared.group in errors:
                outcome.errors.setdefault(name, errors[prepared.group])


def sub_batches(
    batch: Sequence[Prepared], outcomes: Sequence[Outcome], rewards: Mapping[str, Reward]
) -> list[SubBatch]:
    """What is scored together: samples with the same rewards of one extractor, and whole groups."""
    found: dict[tuple[Extractor, tuple[int, ...]], tuple[str, ...]] = {}
    for extractor in dict.fromkeys(reward.extractor for reward in rewards.values()):
        own = [name for name, reward in rewards.items() if reward.extractor is extractor]
        groups = [name for name in own if isinstance(rewards[name], GroupReward)]
        members: dict[tuple[str, ...], list[int]] = {}
        for index, outcome in enumerate(outcomes):
            able = (n for n in own if n not in outcome.errors and n not in groups)
            members.setdefault(tuple(able), []).append(index)
        found |= {(extractor, tuple(m)): names for names, m in members.items() if names}
        for name in groups:
            whole: dict[int | None, list[int]] = {}
            for index, outcome in enumerate(outcomes):
                if name not in outcome.errors:
                    whole.setdefault(batch[index].group, []).append(index)
            for indices in whole.values():
                key = (extractor, tuple(indices))
                found[key] = (*found.get(key, ()), name)
    return [SubBatch(indices, names) for (_, indices), names in found.items()]


def pieces(sub_batch: SubBatch, size: int, rewards: Mapping[str, Reward]) -> list[SubBatch]:
    """A sub-batch in pieces of `size` samples; a `GroupReward` keeps it whole."""
    if len(sub_batch.indices) <= size:
        return [sub_batch]
    whole = tuple(name for name in sub_batch.names if isinstance(rewards[name], GroupReward))
    others = tuple(name for name in sub_batch.names if name not in whole)
    starts = range(0, len(sub_batch.indices), size) if others else ()
    cut = [SubBatch(sub_batch.indices[start : start + size], others) for start in starts]
    return [*cut, SubBatch(sub_batch.indices, whole)] if whole else cut


class Together:
    """Some samples of a batch and the features that one extractor finds in them, computed once."""

    def __init__(self, samples: Sequence[Prepared], extractor: Extractor) -> None:
        self._samples = samples
        self._extractor = extractor

    @cached_property
    def batch(self) -> Batch:
        """The samples without their media."""
        return Batch([prepared.sample for prepared in self._samples if prepared.sample])

    @cached_property
    def features(self) -> Any:
        """What the extractor finds in the samples."""
        return self._extractor.features([p.halves[self._extractor] for p in self._samples])


def attempt(reward: Reward, together: Together, outcomes: Sequence[Outcome]) -> Exception | None:
    """Score samples and write down their scores; the error where the batch as a whole failed."""
    try:
        raw = reward.score(together.batch, together.features)
        scores = check_scores(reward.card, raw, len(outcomes))
    except BaseException as error:
        return as_error(error)
    for outcome, score in zip(outcomes, scores.tolist(), strict=True):
        outcome.scores[reward.card.name] = score
    return None
