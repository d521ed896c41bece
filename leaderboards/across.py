"""Models across benchmarks, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leaderboards.board import SHORT, Leaderboard, Standing, Standings
from leaderboards.cells import NONE, TRAINED, Cell
from leaderboards.tables import BoardTable, Column


def across(shown: Leaderboard) -> list[BoardTable]:
    """The tables of models across boards, one for each task that has two boards."""
    return [_across(shown, standings) for standings in shown.standings]


def _across(shown: Leaderboard, standings: Standings) -> BoardTable:
    titles = {
        board.id: board.benchmark
        if board.benchmark == board.metric
        else f"{board.benchmark} ({board.metric})"
        for board in shown.boards
    }
    columns = ["model", "mean rank", "win rate", *(titles[id] for id in standings.boards)]
    footnotes = [
        f"{model} does not stand here: it has no rank on {', '.join(titles[id] for id in lacking)}."
        for model, lacking in standings.absent.items()
    ]
    if any(row.trained_metrics for row in standings.rows):
        footnotes.insert(0, f"{TRAINED} was trained on a reward that measures it here.")
    return BoardTable(
        kind="across",
        title="Across benchmarks",
        about=(
            f"{SHORT[standings.task]}; mean of the middles of ranks, and mean share of prompts won "
            "against the others, over models that are ranked on each"
        ),
        board={"modality": SHORT[standings.task], "kind": "across"},
        columns=tuple(Column(name, name != "model") for name in columns),
        rows=tuple(_standing(row, standings.boards, titles) for row in standings.rows),
        footnotes=tuple(footnotes),
    )


def _standing(row: Standing, boards: Sequence[str], titles: Mapping[str, str]) -> tuple[Cell, ...]:
    trained = ", ".join(row.trained_metrics)
    ranks = [
        Cell(
            str(row.ranks[id]),
            {
                f"{titles[id]} rank_best": row.ranks[id].best,
                f"{titles[id]} rank_worst": row.ranks[id].worst,
            },
        )
        for id in boards
    ]
    rate = NONE if row.win_rate is None else f"{row.win_rate:.3f}"
    return (
        Cell(
            row.model,
            {"model": row.model, "trained_metrics": trained or None},
            marks=(TRAINED,) if trained else (),
        ),
        Cell(f"{row.mean_rank:.2f}", {"mean_rank": row.mean_rank}),
        Cell(rate, {"win_rate": row.win_rate}),
        *ranks,
    )
