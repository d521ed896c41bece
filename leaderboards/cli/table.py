"""`rewardkit leaderboard table`: the models of some results, compared."""

from __future__ import annotations

from typing import Any

import click

from benchmarks.cli.options import options
from leaderboards.cli.request import OPTIONS, made
from rewardkit.cli.terminal import echo


@click.command()
@options(OPTIONS)
@click.option(
    "--format", "form", type=click.Choice(["md", "csv", "latex", "json"]), default="md",
    show_default=True, help="Format to print.",
)  # fmt: skip
def table(form: str, **asked: Any) -> None:
    """Compare the models of RESULTS: folders of `rewardkit bench`, searched whole, or files.

    A rank is a range, 1-3, where paired tests cannot tell models apart. Incomplete results have no
    rank. Models that were trained on the reward that measures them are marked, and so are models
    with other settings than most of the board. Results on other prompts, or by other weights of a
    reward, have tables of their own. CSV and JSON are in full precision.
    """
    from leaderboards.render import FORMATS

    shown, tables = made(**asked)
    for note in shown.notes:
        echo(f"Note: {note}", err=True)
    echo(FORMATS[form](tables), nl=False)
