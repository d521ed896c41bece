"""From scores to how rewards agree with people: every measure with its 95 % interval.

What varies by chance is the prompt, with all its questions and pairs: see
`rewardkit.stats.clusters`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.preferences.accuracy import (
    Floats,
    Ints,
    agreement,
    by_question,
    concordance,
    pairs,
    three_way,
    tie_threshold,
)
from benchmarks.preferences.question import Question
from benchmarks.preferences.results import Agreement, Change, Share
from rewardkit.stats.clusters import Estimate, Stratified, compare, estimate

Scores = Sequence[Sequence[float | None]]


def measure_agreement(questions: Sequence[Question], scores: Scores) -> Agreement:
    """How one reward agrees with people.

    Args:
        questions: what people say, at least one.
        scores: of the media of each question; None where one failed.
    """
    every = pairs(questions, _no_scores(questions))
    found = pairs(questions, scores)
    strict = found.human != 0
    human, difference = found.human[strict], found.difference[strict]
    right = agreement(human, difference)
    wrong_ties = (right == 1).astype(np.float64)
    told_apart = every.question[every.human != 0]
    whole = np.flatnonzero([None not in values for values in scores])
    ranked = np.isin(found.question, whole)
    epsilon = tie_threshold(found.human, found.difference)
    answers = three_way(found.human, found.difference, epsilon)
    accuracy = _estimate(questions, right, found.question[strict])
    per_tag = Counter(questions[index].tag for index in told_apart)
    by_tag = accuracy.strata if accuracy else {}
    return Agreement(
        accuracy=_share(accuracy.headline if accuracy else None, told_apart.size),
        ties_as_wrong=_mean(questions, wrong_ties, found.question[strict], told_apart.size),
        ties_as_wrong_by_question=_mean(
            questions,
            *by_question(wrong_ties, found.question[strict]),
            np.unique(told_apart).size,
        ),
        ranking_accuracy=_mean(
            questions,
            *by_question(
                concordance(found.human[ranked], found.difference[ranked]), found.question[ranked]
            ),
            len(questions),
        ),
        with_ties=_mean(questions, answers, found.question, every.human.size),
        epsilon=epsilon if answers.size else None,
        tags={tag: _share(by_tag.get(tag), n) for tag, n in sorted(per_tag.items())},
    )


def measure_changes(
    questions: Sequence[Question], scores: Mapping[str, Scores]
) -> dict[str, Change]:
    """The accuracy of each reward but the first against that of the first.

    Args:
        questions: what people say.
        scores: by reward. A pair of media that one of the two lacks a score of is left out.
    """
    (_, base), *others = scores.items()
    return {
        name: change
        for name, other in others
        if (change := _change(questions, base, other)) is not None
    }


def _change(questions: Sequence[Question], base: Scores, other: Scores) -> Change | None:
    both = [
        [None not in pair for pair in zip(first_scores, second_scores, strict=True)]
        for first_scores, second_scores in zip(base, other, strict=True)
    ]

    def shared(scores: Scores) -> Scores:
        return [
            [value if known else None for value, known in zip(values, kept, strict=True)]
            for values, kept in zip(scores, both, strict=True)
        ]

    first, second = (pairs(questions, shared(scores)) for scores in (base, other))
    strict = first.human != 0
    if not strict.any():
        return None
    found = compare(
        agreement(first.human[strict], first.difference[strict]),
        agreement(second.human[strict], second.difference[strict]),
        *_names(questions, first.question[strict]),
        "items",
    ).headline
    return Change(
        before=found.before,
        after=found.after,
        difference=found.difference.mean,
        interval=found.difference.interval,
        p_value=found.p_value,
        detectable=found.detectable,
        won=found.wins,
        lost=found.losses,
        tied=found.ties,
        n=found.difference.items,
    )


def _no_scores(questions: Sequence[Question]) -> list[list[float]]:
    """Any scores at all: with them, `pairs` counts what there is to be known."""
    return [[0.0] * len(question.media) for question in questions]


def _names(questions: Sequence[Question], of: Ints) -> tuple[list[str], list[str]]:
    """Clusters and strata of what belongs to the questions `of`."""
    clusters = [question.cluster for question in questions]
    return [clusters[index] for index in of], [questions[index].tag for index in of]


def _estimate(
    questions: Sequence[Question], values: Floats, of: Ints
) -> Stratified[Estimate] | None:
    return estimate(values, *_names(questions, of), "items") if values.size else None


def _mean(questions: Sequence[Question], values: Floats, of: Ints, expected: int) -> Share:
    found = _estimate(questions, values, of)
    return _share(found.headline if found else None, expected)


def _share(found: Estimate | None, expected: int) -> Share:
    if found is None:
        return Share(score=None, interval=None, n=0, expected=expected)
    return Share(score=found.mean, interval=found.interval, n=found.items, expected=expected)
