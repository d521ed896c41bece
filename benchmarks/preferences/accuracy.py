"""Does a reward order two media as people do? The measures of the field, as pure functions.

Of every pair of pictures or clips of a question there is

    human       +1 where people prefer the first, -1 the second, 0 for a tie,
    difference  the reward's score of the first minus that of the second,

and each measure is a mean of a value per pair, over pairs or over questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import final

import numpy as np
from numpy.typing import NDArray

from benchmarks.preferences.question import Question

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@final
@dataclass(frozen=True)
class Pairs:
    """Pairs of media: what people say of each, and what a reward does.

    Attributes:
        human: +1, -1 or 0, [n].
        difference: of the reward's scores, first minus second, [n].
        question: the index of the question of each, [n].
    """

    human: Ints
    difference: Floats
    question: Ints


def pairs(questions: Sequence[Question], scores: Sequence[Sequence[float | None]]) -> Pairs:
    """All pairs of media of a question that both have a score.

    Args:
        questions: what people say.
        scores: of the media of each; None where one failed.
    """
    found: list[tuple[int, float, int]] = []
    for index, (question, values) in enumerate(zip(questions, scores, strict=True)):
        known = [(r, s) for r, s in zip(question.ranking, values, strict=True) if s is not None]
        for (rank, score), (other_rank, other_score) in combinations(known, 2):
            human = (rank < other_rank) - (rank > other_rank)
            found.append((human, score - other_score, index))
    return Pairs(
        human=np.array([human for human, _, _ in found], np.int64),
        difference=np.array([difference for _, difference, _ in found], np.float64),
        question=np.array([question for _, _, question in found], np.int64),
    )


def agreement(human: Ints, difference: Floats) -> Floats:
    """1 where a reward orders a pair as people do, 0 where the other way round, [n] -> [n].

    A reward that scores both equally is right half the time: a constant reward has
    accuracy 0.5, and the negative of a reward 1 minus its accuracy. Upstream counts such pairs as
    wrong (`agreement == 1` is upstream's value; a reward that saturates looks worse by it than
    chance), or leaves them out (a reward then chooses the pairs it is measured on).

    Args:
        human: +1 or -1: pairs that people tell apart.
        difference: of the reward's scores.

    Source: `acc` in https://github.com/THUDM/ImageReward, test.py, over all pairs, and
    `calc_ImageReward` in https://github.com/tgxs002/HPSv2, hpsv2/src/training/train.py, over the
    pairs of a prompt, both with ties as wrong.
    """
    return (1.0 + human * np.sign(difference)) / 2


def concordance(human: Ints, difference: Floats) -> Floats:
    """1 where a pair is no inversion, 0 where it is one, [n] -> [n].

    The mean over the pairs of a prompt is 1 - inversions / pairs, and the mean of that over prompts
    is upstream's ranking accuracy. A pair that people do not tell apart cannot be inverted, so it
    counts as right. Where a reward scores both alike, upstream takes the order in which a sort
    leaves them, which is chance; here it is the mean of both orders, 1/2.

    Args:
        human: +1, -1 or 0.
        difference: of the reward's scores.

    Source: `inversion_score` in https://github.com/tgxs002/HPSv2, hpsv2/src/training/train.py.
    """
    return np.where(human == 0, 1.0, agreement(human, difference))


def tie_threshold(human: Ints, difference: Floats) -> float:
    """The epsilon by which a reward says best which pairs are ties: see `three_way`.

    The least of those with the most right answers, among 0 and the sizes of the differences. It is
    calibrated on the very pairs it is used on, so the accuracy by it is a little too high.

    Args:
        human: +1, -1 or 0, [n].
        difference: of the reward's scores, [n].

    Source: Deutsch et al. 2023, https://arxiv.org/abs/2305.14324; as VideoGen-RewardBench uses it,
    https://arxiv.org/abs/2501.13918.
    """
    candidates, place = np.unique(np.append(np.abs(difference), 0.0), return_inverse=True)
    place, n = place[:-1], candidates.size
    ties = np.bincount(place[human == 0], minlength=n)
    right = np.bincount(place[human * np.sign(difference) > 0], minlength=n)
    # Below epsilon ties are right, above it orders are.
    correct = ties.cumsum() + right.sum() - right.cumsum()
    return float(candidates[correct.argmax()])


def three_way(human: Ints, difference: Floats, epsilon: float) -> Floats:
    """1 where a reward says what people say, of: the first, the second, a tie; else 0.

    Args:
        human: +1, -1 or 0, [n].
        difference: of the reward's scores, [n].
        epsilon: differences up to it are ties.
    """
    said = np.where(np.abs(difference) <= epsilon, 0.0, np.sign(difference))
    return (said == human).astype(np.float64)


def by_question(values: Floats, question: Ints) -> tuple[Floats, Ints]:
    """The mean of the values of each question, and the questions that have any."""
    names, place = np.unique(question, return_inverse=True)
    return np.bincount(place, values) / np.bincount(place), names
