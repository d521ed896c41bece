"""`rewardkit leaderboard build`: a folder that a browser opens."""

from __future__ import annotations

from pathlib import Path

import click

from rewardkit.cli.terminal import echo


@click.command()
@click.argument("results", nargs=-1, type=click.Path(path_type=Path), metavar="[RESULTS]...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path("site"), show_default=True,
    metavar="DIR", help="The folder of the page.",
)  # fmt: skip
@click.option(
    "--benchmark", "benchmarks", multiple=True, metavar="NAME", help="Only this one; repeatable."
)
@click.option("--published", is_flag=True, help="Numbers from papers too, in tables of their own.")
@click.option(
    "--runs", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR",
    help="Runs of `grpo train`, at or below it: their curves, and samples before and after.",
)  # fmt: skip
@click.option(
    "--pictures", "per_task", type=click.IntRange(0), default=4, show_default=True,
    help="Prompts of each task whose pictures are shown.",
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
    """Write a page about RESULTS: folders of `rewardkit bench`, searched whole, or files.

    The page opens from the file system, needs no network, and can be served or sent as it is. Only
    pictures below RESULTS, or where `rewardkit bench` made them, are copied; to show others, name
    their folder beside the results. --runs alone makes a page of curves.
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
