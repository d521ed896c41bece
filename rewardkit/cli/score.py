"""`rewardkit score`: files in, one row per file out."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

import click

from rewardkit.cli.options import FiniteRange, device_option, endpoint_options, reward_option
from rewardkit.cli.tables import console
from rewardkit.cli.terminal import echo, shown

if TYPE_CHECKING:
    from rich.text import Text

    from rewardkit.engine.items import Progress, Report
    from rewardkit.media.batch import Kind
    from rewardkit.service import Endpoint


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@reward_option(
    required=True,
    help="Rewards to compute: 'clip+sharpness', '0.7*hps+1.4*clip', 'clip:owner/name', "
    "'./my.py:score'.",
)
@click.option(
    "-p",
    "--prompts",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Prompts: .jsonl, .csv, .tsv, .parquet or .json matched by id or path, .txt by order.",
)
@click.option(
    "--path-column", metavar="NAME", help="Column of -p FILE or the manifest with the file names."
)
@click.option(
    "--prompt-column", metavar="NAME", help="Column of -p FILE or the manifest with the prompts."
)
@click.option("--prompt", metavar="TEXT", help="One prompt for every file.")
@click.option("--prompt-from-name", is_flag=True, help="Take each prompt from the file's name.")
@click.option(
    "--prompt-from-metadata",
    is_flag=True,
    help="Take each prompt from the metadata that A1111 or ComfyUI wrote into the image.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write .parquet, .csv or .jsonl. The same command resumes, and scores new files.",
)
@click.option("--overwrite", is_flag=True, help="Score everything again and replace FILE.")
@click.option(
    "--input",
    "kind",
    type=click.Choice(["image", "video"]),
    help="Kind of files to score if there are both.",
)
@device_option
@click.option(
    "--dtype",
    default="float32",
    show_default=True,
    help="Data type of the networks: float32, bfloat16, float16.",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="NAME=PATH",
    help="Local file or folder to use instead of the Hub's; `rewardkit show` lists the names.",
)
@endpoint_options
@click.option(
    "--batch-size", default=32, show_default=True, type=click.IntRange(1),
    help="Number of files scored at once.",
)  # fmt: skip
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Number of threads that decode and preprocess.  [default: one per processor, at most 8]",
)
@click.option(
    "--fps",
    type=FiniteRange(0, min_open=True),
    help="Frames per second to sample from videos; a higher rate than a video's repeats frames, "
    "which rewards that compare neighbouring frames refuse.  [default: the native rate]",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    help="Number of frames to sample from each video; of a video with fewer, frames repeat, as "
    "with --fps.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    help="Maximum number of pixels per image; larger images are refused.  [default: 89478485]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON lines.")  # fmt: skip
def score(
    inputs: tuple[str, ...],
    rewards: str,
    prompts: str | None,
    path_column: str | None,
    prompt_column: str | None,
    prompt: str | None,
    prompt_from_name: bool,
    prompt_from_metadata: bool,
    output: str | None,
    overwrite: bool,
    kind: Kind | None,
    device: str,
    dtype: str,
    weights: tuple[str, ...],
    endpoint: Endpoint | None,
    batch_size: int,
    workers: int | None,
    fps: float | None,
    frames: int | None,
    max_pixels: int | None,
    as_json: bool,
) -> None:
    """Score images or videos: folders, files, globs, '-' (paths on stdin), or a manifest.

    A manifest is a table (.jsonl, .csv, .tsv, .parquet, .json) with the columns path, prompt and,
    optionally, id. The path column can also be named file_name, image and similar, the prompt
    column text or caption. Other columns are passed to rewards that need them. Without -o, the rows
    are printed. A file that cannot be scored becomes a row with an error, and the exit code is then
    1.

    Rewards that compare with reference media, such as a first frame, find their files in the column
    of that name, relative to the folder of the table.

    torchrun and accelerate launch can start several processes, each on its own GPU. They share the
    files and write one table, the same as that of one process.

    Tables contain the exact text of names, prompts and errors: a spreadsheet program may interpret
    a cell of a .csv that begins with = + - or @ as a formula.
    """
    from rewardkit.engine.folder import score_folder
    from rewardkit.media.images import MAX_PIXELS
    from rewardkit.processes import Processes
    from rewardkit.weights.hub import parse_overrides

    processes = Processes.of_launcher()
    logging.getLogger("rewardkit").setLevel(logging.INFO)
    with _Progress(hidden=not processes.first) as progress:
        report = score_folder(
            inputs,
            rewards,
            prompts=prompts,
            prompt=prompt,
            prompt_from_name=prompt_from_name,
            prompt_from_metadata=prompt_from_metadata,
            path_column=path_column,
            prompt_column=prompt_column,
            output=output,
            overwrite=overwrite,
            kind=kind,
            device=device,
            dtype=dtype,
            weights=parse_overrides(weights),
            endpoint=endpoint,
            batch_size=batch_size,
            workers=workers,
            fps=fps,
            frames=frames,
            max_pixels=max_pixels or MAX_PIXELS,
            stdin=sys.stdin.buffer,
            processes=processes,
            on_progress=progress,
        )
    # The exit code of the first is that of the job: a launcher ends all when one process fails.
    if processes.first:
        _print(report, output, as_json)
        click.get_current_context().exit(1 if report.failed else 0)


def _print(report: Report, output: str | None, as_json: bool) -> None:
    if as_json:
        for row in report.rows:
            echo(json.dumps(asdict(row), allow_nan=False))
    elif output is None:
        _print_rows(report)
    _print_summary(report, output)
    if report.failed:
        first = next(row for row in report.rows if row.error is not None)
        echo(
            f"Error: {report.failed} of {len(report.rows)} files could not be scored whole; "
            f"first {first.path}: {first.error}",
            err=True,
        )


class _Progress:
    """A bar on stderr with rate and time left; silent where stderr is not a terminal."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden

    def __enter__(self) -> Self:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("scoring"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("[red]{task.fields[failed]}"),
            console=console(sys.stderr),
            disable=self._hidden or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("", total=None, rate="loading", failed="")
        self._bar.start()
        return self

    def __call__(self, state: Progress) -> None:
        speed = self._bar.tasks[0].speed
        self._bar.update(
            self._task,
            completed=state.done,
            total=state.total,
            rate=f"{speed:.1f}/s" if speed else "",
            failed=f"{state.failed} failed" if state.failed else "",
        )

    def __exit__(self, *exit_info: object) -> None:
        self._bar.stop()


def _print_rows(report: Report) -> None:
    from rich.table import Table

    columns = [*report.rewards, *(["total"] if report.spec.has_total else [])]
    table = Table(box=None, pad_edge=False)
    table.add_column("id", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    failing = report.failed > 0
    if failing:
        table.add_column("error", overflow="fold")
    for row in report.rows:
        values = [*row.scores.values(), *([row.total] if report.spec.has_total else [])]
        cells: list[Text | str] = [
            _text(row.id),
            *("-" if value is None else f"{value:.6g}" for value in values),
        ]
        table.add_row(*cells, *([_text(row.error or "")] if failing else []))
    console().print(table)


def _print_summary(report: Report, output: str | None) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("reward", "n", "mean", "std", "min", "median", "max", "failed"):
        table.add_column(column, justify="left" if column == "reward" else "right", no_wrap=True)
    from rewardkit.stats.intervals import describe

    series = {name: [row.scores[name] for row in report.rows] for name in report.rewards}
    if report.spec.has_total:
        series["total"] = [row.total for row in report.rows]
    for name, scores in series.items():
        known = [score for score in scores if score is not None]
        cells = (f"{value:.6g}" for value in describe(known)) if known else ["-"] * 5
        table.add_row(name, str(len(known)), *cells, str(len(scores) - len(known)))
    stderr = console(sys.stderr)
    stderr.print(table)
    if output is not None:
        again = f", {report.reused} of them from before" if report.reused else ""
        stderr.print(f"{len(report.rows)} rows in {output}{again}", markup=False)


def _text(value: str) -> Text:
    """Text as it is, whatever brackets it has; a line break in a name stays on its line."""
    from rich.text import Text

    return Text(shown(value.replace("\n", "\\n")))
