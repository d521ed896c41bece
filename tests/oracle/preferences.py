"""Golden file of HPS v2's own accuracies; the argument is a clone of tgxs002/HPSv2."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from golden.calls import Calls, call
from golden.cases import FOLDER
from upstream import commit, function

clone = Path(sys.argv[1])
TRAIN = "hpsv2/src/training/train.py"
calc_imagereward = function(clone / TRAIN, "calc_ImageReward")
inversion_score = function(clone / TRAIN, "inversion_score")


def places(scores: list[float]) -> list[int]:
    """Of each picture in the order of scores, as upstream's evaluation hands them on."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [order.index(i) for i in range(len(scores))]


def imagereward() -> list:
    """Rankings with ties, and scores of which some are alike."""
    calls, rng = [], random.Random(0)
    while len(calls) < 12:
        n = rng.randint(2, 9)
        ranking = [rng.randint(1, 5) for _ in range(n)]
        scores = [rng.randint(-8, 8) / 8 for _ in range(n)]
        if len(set(ranking)) > 1:  # upstream divides by the pairs that differ
            given = {"ranking": ranking, "scores": scores}
            calls.append(call(given, {"accuracy": calc_imagereward(scores, ranking)}))
    return calls


def ranking() -> list:
    """Rankings with ties, and scores of which none are alike."""
    calls, rng = [], random.Random(1)
    for _ in range(12):
        n = rng.randint(2, 9)
        ranks = [rng.randint(1, 9) for _ in range(n)]
        scores = [value / 8 for value in rng.sample(range(-32, 32), n)]
        result = {"accuracy": inversion_score(places(scores), ranks)}
        calls.append(call({"ranking": ranks, "scores": scores}, result))
    return calls


golden = Calls(
    upstream=f"tgxs002/HPSv2@{commit(clone)}",
    command="PYTHONPATH=.:tests python tests/oracle/preferences.py CLONE",
    versions={},
    functions={
        f"{TRAIN}: calc_ImageReward": imagereward(),
        f"{TRAIN}: inversion_score": ranking(),
    },
)
(FOLDER / "preferences.json").write_text(golden.model_dump_json() + "\n", encoding="utf-8")
