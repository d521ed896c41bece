"""`rewardkit threshold`: a threshold for a binary reward, proposed from scored data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from rewardkit.cli.options import FiniteRange
from rewardkit.cli.terminal import echo
from rewardkit.errors import InputError, unknown


def shortest(bound: float, scores: Sequence[float]) -> float:
    """`bound` rounded to as few digits, at least four, as leave the same scores above it."""
    passing = sum(score > bound for score in scores)
    rounded = (float(f"{bound:.{digits}g}") for digits in range(4, 17))
    return next((b for b in rounded if sum(s > b for s in scores) == passing), bound)


@click.command()
@click.argument("table", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("reward")
@click.option(
    "--percentile",
    type=FiniteRange(0, 100, max_open=True),
    default=50,
    show_default=True,
    help="Percentile of the scores; at 80, about 20 in 100 pass.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, in full precision.")
def threshold(table: Path, reward: str, percentile: float, as_json: bool) -> None:
    """Propose a threshold for REWARD from the scores in TABLE.

    Prints a term of a reward spec, such as hps.v2.1@0.2871: a binary reward that is 1 if the score
    is above the percentile of the scores in the table, else 0. The number of scores that pass is
    printed on stderr; it is lower than requested if many scores are equal.
    """
    import numpy as np

    from rewardkit.engine.registry import resolve
    from rewardkit.engine.spec import RewardTerm
    from rewardkit.records.rows import read_rows

    read = read_rows(table)
    # A reward of a plug-in that is not installed here is known by its column alone.
    name = reward if reward in read.rewards else resolve(reward)
    if name not in read.rewards:
        raise unknown("score", name, read.rewards, f"the columns of {table}")
    scores = [row.scores[name] for row in read.rows]
    known = [score for score in scores if score is not None]
    if not known:
        raise InputError(f"{table} has no score of {name}; see its column error")
    bound = shortest(float(np.percentile(known, percentile)), known)
    passing = sum(score > bound for score in known)
    term = str(RewardTerm(name, threshold=bound))
    if as_json:
        about = {"term": term, "reward": name, "threshold": bound, "percentile": percentile}
        counts = {"scores": len(known), "null": len(scores) - len(known), "above": passing}
        echo(json.dumps({**about, **counts}, indent=2))
    else:
        echo(term)
    echo(f"{passing} of {len(known)} scores are above it", err=True)
