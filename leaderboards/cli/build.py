"""`rewardkit leaderboard build`: a folder that a browser opens."""

from __future__ import annotations

from pathlib import Path

import click

from rewardkit.cli.terminal import echo


@click.command()
@click.argument("results", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS]...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("site"), show_default=True,
    metavar="DIR", help="Folder for the page.",
)  # fmt: skip
@click.option(
    "--benchmark",
    "benchmarks",
    multiple=True,
    metavar="NAME",
    help="Show only this benchmark; can be repeated.",
)
@click.option("--published", is_flag=True, help="Add numbers from papers in separate tables.")
@click.option(
    "--runs", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="Folder of `grpo train` runs, to show their curves and samples before and after.",
)  # fmt: skip
@click.option(
    "--gallery", "per_task", type=click.IntRange(0), default=4, show_default=True,
    help="Number of prompts per task whose images or videos are shown.",
)  # fmt: skip
@click.option("--title", metavar="TEXT", help="Title of the page.  [default: Leaderboard]")
def build(
    results: tuple[Path, ...],
    out: Path,
    benchmarks: tuple[str, ...],
    published: bool,
    runs: Path | None,
    per_task: int,
    title: str | None,
) -> None:
    """Write a page about RESULTS: result files, or folders searched recursively.

    The page opens from the file system, needs no network, and can be served or sent as it is. Only
    images and videos below RESULTS, or where `rewardkit bench` wrote them, are copied; to show
    others, pass their folder with the results. --runs alone makes a page of training curves.
    """
    from leaderboards.assemble import leaderboard
    from leaderboards.board import Leaderboard
    from leaderboards.page.runs import read_runs
    from leaderboards.page.site import TITLE
    from leaderboards.page.site import build as build_page
    from rewardkit.errors import UsageError

    def note(text: str) -> None:
        echo(f"Note: {text}", err=True)

    if not results and not published and runs is None:
        raise UsageError(
            "nothing to show: name folders of results, or give --runs DIR or --published"
        )
    shown = Leaderboard(())
    if results or published:
        shown = leaderboard(results, benchmarks=benchmarks, with_published=published)
    elif benchmarks:
        raise UsageError("--benchmark chooses among results: name folders of them")
    for text in shown.notes:
        note(text)
    found = read_runs(runs) if runs is not None else []
    page = build_page(shown, out, runs=found, per_task=per_task, title=title or TITLE, on_note=note)
    echo(str(page))
