"""The result file: how well rewards agree with people on one preference set.

    results/preferences.SET.REWARDS.json       this
    results/preferences.SET.REWARDS.parquet    a row per picture or clip
    results/preferences.SET.REWARDS.parquet.meta.json

A file says which version of the form it has, and by its `kind` that it ranks no model.
"""

from __future__ import annotations

from typing import Any, Literal, final

from pydantic import Field

from benchmarks.fields import ResultPart

SCHEMA: Literal[1] = 1


@final
class Share(ResultPart):
    """A mean, 1 where all are right."""

    score: float | None
    """Null where nothing has been scored."""
    interval: tuple[float, float] | None
    """95 %, by a bootstrap of prompts within tags; null where one prompt alone tells nothing."""
    n: int = Field(ge=0)
    """Pairs, or questions, that it is of."""
    expected: int = Field(ge=0)
    """Those that the set has."""


@final
class Agreement(ResultPart):
    """How one reward agrees with people."""

    accuracy: Share
    """Over pairs that people tell apart; where the reward does not, half."""
    ties_as_wrong: Share
    """The same, where the reward does not: wrong. ImageReward's accuracy."""
    ties_as_wrong_by_question: Share
    """Its mean over questions, of the mean over the pairs of each. HPS v2's, of ImageReward's test
    set."""
    ranking_accuracy: Share
    """1 - inversions / pairs, averaged over questions that are scored whole: HPS v2's."""
    with_ties: Share
    """Over all pairs, three-way: the first, the second, a tie. The interval takes `epsilon` as
    given, though it was calibrated on these pairs."""
    epsilon: float | None
    """Differences up to it are the reward's ties in `with_ties`."""
    tags: dict[str, Share]
    """The accuracy by tag."""


@final
class Change(ResultPart):
    """The accuracy of a reward against that of the first, pair by pair."""

    before: float
    """Accuracy of the first reward, on pairs that both have scored."""
    after: float
    difference: float
    interval: tuple[float, float] | None
    p_value: float
    """Two-sided, by flipping the signs of whole prompts."""
    detectable: float | None
    """Minimum detectable difference with these prompts at power 0.8; null if unknown."""
    won: int
    """Number of prompts for which it orders more pairs as people do than the first."""
    lost: int
    tied: int
    n: int
    """Pairs."""


@final
class SetInfo(ResultPart):
    """Which preference set."""

    name: str
    source: str
    sha256: str
    """SHA-256 of its questions: prompts, names of files, rankings, tags."""
    prompts_sha256: str
    questions: int
    missing: int
    """Lines of the published set that were not there."""
    pairs: int
    """Number of pairs of media of the same question."""
    ties: int
    """Number of pairs that people rank equally."""


@final
class PreferenceResult(ResultPart):
    """Some rewards on one preference set."""

    schema_version: Literal[1] = SCHEMA
    kind: Literal["preferences"] = "preferences"
    complete: bool
    """Whether the set is whole and every picture or clip has every score."""
    n_expected: int
    """Pictures or clips; one that is shown several times with one prompt is one."""
    n_scored: int
    failures: dict[str, str]
    """Reasons of the first ten pictures or clips without a score; the rows list all."""
    set: SetInfo
    agreement: dict[str, Agreement]
    """By reward; `total` is the weighted sum, where a spec has one."""
    changes: dict[str, Change]
    """Differences of each other reward from the first."""
    spec: str
    rewards: dict[str, Any]
    """By reward: checksums of weights, preprocessing, dtype."""
    weights: dict[str, Any]
    """By name: source, revision, checksum."""
    rows: str
    """File of the rows, from the folder of the result."""
    versions: dict[str, str]
    device: str
    created: str
