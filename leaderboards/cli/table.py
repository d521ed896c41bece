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
    show_default=True, help="Output format.",
)  # fmt: skip
def table(form: str, **request: Any) -> None:
    """Print tables of RESULTS: result files, or folders searched recursively.

    A rank is a range, such as 1-3, if paired tests cannot distinguish the models. Incomplete
    results are shown without a rank. Models that were trained on the reward that measures them are
    marked, as are models with other settings than most of the leaderboard. Results with other
    prompts or other weights of a reward are in separate tables. CSV and JSON are in full precision.
    """
    from leaderboards.render import FORMATS

    shown, tables = made(**request)
    for note in shown.notes:
        echo(f"Note: {note}", err=True)
    echo(FORMATS[form](tables), nl=False)
