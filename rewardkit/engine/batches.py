"""Batches of samples: where they are cut, what is scored together, one attempt at scoring it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from rewardkit.engine.recovery import as_error
from rewardkit.engine.reward import Extractor, Reward, check_scores
from rewardkit.media.batch import Batch, Kind, Sample

# Samples of a batch that go through rewards together: their places, and the rewards' names.
Part: TypeAlias = tuple[tuple[int, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Scored:
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
        sample: whose medium was read, and is let go.
        kind: of the medium; None where it could not be read.
        halves: what each extractor prepared, or the error it met; why there is no medium.
    """

    sample: Sample
    kind: Kind | None
    halves: tuple[Any, ...] | Exception


def cuts(
    samples: Sequence[Sample | None], size: int, whole_groups: bool
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
    batch: Sequence[Prepared], outcomes: Sequence[Scored], groups: Sequence[str]
) -> None:
    """A `GroupReward` sees a whole group or none of it: one member's error is that of all."""
    for name in groups:
        errors: dict[int | None, Exception] = {}
        for prepared, outcome in zip(batch, outcomes, strict=True):
            if name in outcome.errors:
                errors.setdefault(prepared.sample.group, outcome.errors[name])
        for prepared, outcome in zip(batch, outcomes, strict=True):
            if prepared.sample.group in errors:
                outcome.errors.setdefault(name, errors[prepared.sample.group])


def parts(
    batch: Sequence[Prepared],
    outcomes: Sequence[Scored],
    names: Sequence[str],
    groups: Sequence[str],
) -> list[Part]:
    """What is scored together: samples that take the same rewards, and whole groups."""
    found: dict[tuple[int, ...], tuple[str, ...]] = {}
    members: dict[tuple[str, ...], list[int]] = {}
    for index, outcome in enumerate(outcomes):
        able = [n for n in names if n not in outcome.errors and n not in groups]
        members.setdefault(tuple(able), []).append(index)
    for shared, indices in members.items():
        if shared:
            found[tuple(indices)] = shared
    for name in groups:
        whole: dict[int | None, list[int]] = {}
        for index, outcome in enumerate(outcomes):
            if name not in outcome.errors:
                whole.setdefault(batch[index].sample.group, []).append(index)
        for indices in whole.values():
            found[tuple(indices)] = (*found.get(tuple(indices), ()), name)
    return list(found.items())


def pieces(part: Part, size: int, groups: Sequence[str]) -> list[Part]:
    """A part in pieces of `size` samples, but for rewards that must see it whole."""
    indices, names = part
    if len(indices) <= size:
        return [part]
    whole = tuple(name for name in names if name in groups)
    others = tuple(name for name in names if name not in groups)
    starts = range(0, len(indices), size) if others else ()
    cut: list[Part] = [(indices[start : start + size], others) for start in starts]
    return [*cut, (indices, whole)] if whole else cut


class Together:
    """Some samples of a batch; their features are computed once per extractor and kept."""

    def __init__(self, samples: Sequence[Prepared]) -> None:
        self._samples = samples
        self._features: dict[int, Any] = {}

    def batch(self) -> Batch:
        """The samples without their media."""
        samples = [prepared.sample for prepared in self._samples]
        return Batch(None, [s.prompt for s in samples], [s.meta for s in samples])

    def features(self, extractor: Extractor, slot: int) -> Any:
        """What `extractor`, which prepared the halves in `slot`, says of the samples."""
        if slot not in self._features:
            halves = []
            for prepared in self._samples:
                assert not isinstance(prepared.halves, Exception)
                halves.append(prepared.halves[slot])
            self._features[slot] = extractor.features(halves)
        return self._features[slot]


def attempt(
    reward: Reward, slot: int, together: Together, outcomes: Sequence[Scored]
) -> Exception | None:
    """Score samples and write down their scores; the error where the batch as a whole failed."""
    try:
        raw = reward.score(together.batch(), together.features(reward.extractor, slot))
        scores = check_scores(reward.card, raw, len(outcomes))
    except BaseException as error:
        return as_error(error)
    for outcome, score in zip(outcomes, scores.tolist(), strict=True):
        outcome.scores[reward.card.name] = score
    return None
