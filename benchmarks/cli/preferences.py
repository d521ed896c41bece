"""`rewardkit bench preferences`: does a reward choose as people choose?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.cli.options import DEVICE, options
from rewardkit.cli.options import endpoint_options, reward_option
from rewardkit.cli.terminal import echo

if TYPE_CHECKING:
    from benchmarks.preferences.results import Change, PreferenceResult, Share
    from rewardkit.service import Endpoint


@click.command()
@click.argument("source", metavar="SET")
@reward_option(required=True, help="Rewards to measure; each is compared with the first.")
@click.option(
    "--images", "--media", "media", type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the images or videos of a public data set, in the publisher's layout.",
)  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), default=Path("results"),
    show_default=True, metavar="DIR", help="Folder for the results.",
)  # fmt: skip
@click.option(
    "--weights", multiple=True, metavar="NAME=PATH",
    help="Local file with a reward's weights or a data set's annotations.",
)  # fmt: skip
@endpoint_options
@click.option(
    "--dtype", default="float32", show_default=True,
    help="Data type of the networks: float32, bfloat16, float16.",
)  # fmt: skip
@click.option(
    "--batch-size", default=32, show_default=True, type=click.IntRange(1),
    help="Number of images or videos scored at once.",
)  # fmt: skip
@click.option(
    "--allow-partial",
    is_flag=True,
    help="Measure the files that exist and mark the result incomplete.",
)
@click.option("--overwrite", is_flag=True, help="Score everything again.")
@options(DEVICE)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def preferences(
    source: str,
    rewards: str,
    media: Path | None,
    out: Path,
    weights: tuple[str, ...],
    endpoint: Endpoint | None,
    dtype: str,
    batch_size: int,
    allow_partial: bool,
    overwrite: bool,
    device: str,
    as_json: bool,
) -> None:
    """Measure how often rewards agree with human preferences between two images or videos.

    SET is a manifest or, with --media, a public data set:

    \b
        FILE.jsonl             {"prompt": "a cat", "images": ["a.png", "b.png"], "ranking": [1, 2]}
        hpd.v2-test            Human Preference Dataset v2
        imagereward-test       ImageReward
        pick-a-pic.v1-SPLIT    Pick-a-Pic; validation, test, validation-unique, test-unique
        pick-a-pic.v2-SPLIT    its second version
        videogen-rewardbench   VideoGen-RewardBench, overall preferences between videos
        videogen-rewardbench.vq, .mq, .ta    visual quality, motion quality, text alignment

    In a manifest, rank 1 is the preferred image, and equal ranks are a tie; videos are listed under
    "videos". The same command resumes an interrupted run.
    """  # noqa: D301, click takes the escaped character
    from benchmarks.cli.progress import ProgressDisplay
    from benchmarks.preferences.runner import measure
    from rewardkit.weights.hub import parse_overrides

    with ProgressDisplay() as display:
        display.phase("scores")
        path, result = measure(
            source,
            rewards,
            out,
            media=media,
            allow_partial=allow_partial,
            device=device,
            dtype=dtype,
            weights=parse_overrides(weights),
            endpoint=endpoint,
            batch_size=batch_size,
            overwrite=overwrite,
            on_progress=display.scored,
        )
        display.say(f"result: {path}")
    if as_json:
        echo(path.read_text("utf-8"), nl=False)
    else:
        _print(result)


def _print(result: PreferenceResult) -> None:
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, pad_edge=False)
    table.add_column(result.set.name, no_wrap=True)
    headings = ("accuracy", "95 % interval", "pairs", "ties as wrong", "with ties", "ranking")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, measured in result.agreement.items():
        others = (measured.ties_as_wrong, measured.with_ties, measured.ranking_accuracy)
        table.add_row(name, *_cells(measured.accuracy), *(_number(share.score) for share in others))
        if len(measured.tags) > 1:
            for tag, share in measured.tags.items():
                table.add_row(f"  {tag}", *_cells(share), "", "", "")
    console().print(table, markup=False)
    if result.changes:
        _print_changes(next(iter(result.agreement)), result.changes)
    if not result.complete:
        lines = f", {result.set.missing} lines missing" if result.set.missing else ""
        echo(f"incomplete: {result.n_scored} of {result.n_expected} files{lines}")
        for id, error in result.failures.items():
            echo(f"{id}: {error}", err=True)


def _print_changes(first: str, changes: dict[str, Change]) -> None:
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, pad_edge=False)
    table.add_column(f"against {first}", no_wrap=True)
    for heading in ("difference", "95 % interval", "p", "prompts won : lost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, change in changes.items():
        ends = " .. ".join(f"{end:+.4f}" for end in change.interval) if change.interval else "-"
        table.add_row(
            name,
            f"{change.difference:+.4f}",
            ends,
            f"{change.p_value:.2g}",
            f"{change.won} : {change.lost}",
        )
    out = console()
    out.print()
    out.print(table, markup=False)


def _cells(share: Share) -> tuple[str, str, str]:
    ends = " .. ".join(map(_number, share.interval)) if share.interval else "-"
    n = str(share.n) if share.n == share.expected else f"{share.n} of {share.expected}"
    return _number(share.score), ends, n


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
