"""How scores become one number: criteria, each a mean over some cases, normalised and weighed.

GenEval   each_tag("single_object", "two_object", ...)    the mean of the means of six tasks
HPS v2    no criteria                                      the mean over all pictures
VBench    share(4, *quality), share(1, *semantic)          normalised dimensions, weighed 4 : 1

A criterion with a threshold is about the share of cases above it, as VBench's dynamic degree is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, final

from rewardkit.errors import RewardKitError

if TYPE_CHECKING:
    from benchmarks.rows import ScoredSample
    from rewardkit.stats.totals import Headline

#: What the number of several rewards is called, unless the benchmark has another name for it.
TOTAL = "total"


@final
@dataclass(frozen=True)
class Criterion:
    """A mean that counts towards the number of a benchmark, as (mean - low) / (high - low).

    Attributes:
        reward: the reward whose mean it is; None is the first reward of the benchmark, and any
            other reward where that one's own number is asked for.
        tag: the cases it is a mean over are those with this tag; None is all cases.
        low: the mean that counts as 0.
        high: the mean that counts as 1.
        weight: how much it counts, relative to the weights of the others.
        threshold: a score counts as 1 above it and as 0 otherwise; None where it counts as it is.
    """

    reward: str | None = None
    tag: str | None = None
    low: float = 0.0
    high: float = 1.0
    weight: float = 1.0
    threshold: float | None = None

    def __post_init__(self) -> None:
        if not (self.low < self.high and self.weight > 0):
            raise RewardKitError(
                f"the criterion {self.name} has low {self.low}, high {self.high} and weight "
                f"{self.weight}; low is below high, and a weight is above 0"
            )

    @property
    def name(self) -> str:
        """What a table calls it: its tag, else its reward."""
        return self.tag or self.reward or "all"

    def covers(self, tags: Sequence[str]) -> bool:
        """Whether it is about a case with these tags."""
        return self.tag is None or self.tag in tags

    def value(self, score: float) -> float:
        """What a score counts as, before the mean over cases."""
        return score if self.threshold is None else float(score > self.threshold)


#: The mean over all pictures or clips.
EVERYTHING = (Criterion(),)


def each_tag(*tags: str) -> tuple[Criterion, ...]:
    """Criteria for the mean of the means of tags, each of which counts the same."""
    return tuple(Criterion(tag=tag) for tag in tags)


def share(weight: float, *criteria: Criterion) -> tuple[Criterion, ...]:
    """These criteria with weights that add up to `weight` and relate as before."""
    total = sum(criterion.weight for criterion in criteria)
    return tuple(
        replace(criterion, weight=weight * criterion.weight / total) for criterion in criteria
    )


def with_reward(criteria: Iterable[Criterion], first: str) -> tuple[Criterion, ...]:
    """The criteria with the name of the first reward where they leave it open."""
    return tuple(replace(criterion, reward=criterion.reward or first) for criterion in criteria)


def metric_of(criteria: Iterable[Criterion], total: str = TOTAL) -> str:
    """The name of their number: the reward, where they are of one, else `total`."""
    rewards = {criterion.reward for criterion in criteria if criterion.reward is not None}
    return rewards.pop() if len(rewards) == 1 else total


def criteria_of(reward: str, criteria: Sequence[Criterion]) -> tuple[Criterion, ...]:
    """The criteria for the number of one reward alone, of criteria that name their rewards.

    Where all criteria are of one reward, the numbers of other rewards are made in the same way;
    where they are of several, the number of each is the plain mean over the cases it is for.
    """
    if metric_of(criteria) != TOTAL:
        return tuple(replace(criterion, reward=reward) for criterion in criteria)
    return (Criterion(reward),)


def applies(reward: str, tags: Sequence[str], criteria: Iterable[Criterion]) -> bool:
    """Whether a case with these tags is scored by a reward.

    A reward that no criterion names is for all cases.
    """
    own = [criterion for criterion in criteria if criterion.reward == reward]
    return not own or any(criterion.covers(tags) for criterion in own)


class Values(NamedTuple):
    """Numbers of pictures or clips, whose mean is the number of a benchmark."""

    scored: Sequence[ScoredSample]
    values: Sequence[float]
    headline: Headline


def values_of(
    criteria: Sequence[Criterion], scored: Sequence[ScoredSample], scale: float
) -> Values:
    """What each picture or clip counts towards the number that criteria make of all of them.

    The number is a mean over these values, so that `rewardkit.stats.clusters` can resample and test
    it. The mean of the means of tags ("tasks") divides by resampled counts, which matters where
    prompts have unequal numbers of scores, so it is left to that module.

    Args:
        criteria: with the names of their rewards.
        scored: all pictures or clips. One that lacks a score counts for its other criteria.
        scale: what the number is multiplied by.
    """
    from rewardkit.stats.totals import contributions

    terms = [
        (item, part, criterion.value(score))
        for item, row in enumerate(scored)
        for part, criterion in enumerate(criteria)
        if criterion.covers(row.tags)
        and (score := row.scores.get(criterion.reward or "")) is not None
    ]
    if not terms:
        return Values([], [], "items")
    items = list(dict.fromkeys(item for item, _, _ in terms))
    kept = [scored[item] for item in items]
    if is_mean_of_means(criteria) and all(len(row.tags) == 1 for row in kept):
        return Values(kept, [scale * value for _, _, value in terms], "tasks")
    place = {item: number for number, item in enumerate(items)}
    found = contributions(
        [value for _, _, value in terms],
        [place[item] for item, _, _ in terms],
        [part for _, part, _ in terms],
        weights=[criterion.weight for criterion in criteria],
        lows=[criterion.low for criterion in criteria],
        highs=[criterion.high for criterion in criteria],
    )
    return Values(kept, [scale * value for value in found.tolist()], "items")


def averaging(criteria: Sequence[Criterion], media: str) -> str:
    """How the criteria become one number, in the words of a caption.

    Args:
        criteria: of a benchmark.
        media: what is scored: "images" or "videos".
    """
    if is_mean_of_means(criteria):
        return "mean over tasks"
    if len(criteria) == 1 and criteria[0].tag is None and is_plain(criteria):
        return f"mean of all {media}"
    return f"weighted mean of {len(criteria)} normalised criteria"


def is_mean_of_means(criteria: Sequence[Criterion]) -> bool:
    """Whether they average the means of tags, each of which counts the same."""
    tags = {criterion.tag for criterion in criteria}
    return None not in tags and len(tags) == len(criteria) and is_plain(criteria)


def is_plain(criteria: Sequence[Criterion]) -> bool:
    """Whether they are of one reward, of its scores as they are, and count the same."""
    first, *others = (replace(criterion, tag=None) for criterion in criteria)
    plain = Criterion(first.reward, weight=first.weight)
    return first == plain and all(criterion == first for criterion in others)
