"""`rewardkit leaderboard check`: committed tables match the results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardkit.cli.terminal import echo
from rewardkit.errors import InputError, RewardKitError

if TYPE_CHECKING:
    from leaderboards.committed import Block


@click.command()
@click.argument(
    "files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="[FILE]...",
)  # fmt: skip
@click.option("--write", is_flag=True, help="Update the tables instead.")
def check(files: tuple[Path, ...], write: bool) -> None:
    """Check that the tables in Markdown files match the results.

    A table is enclosed by two lines. The first contains the results, with paths relative to the
    folder of the file, and options of `rewardkit leaderboard table`:

    \b
      <!-- leaderboard: results/ --benchmark shapes -->
      <!-- end of leaderboard -->

    Without FILE, checks the Markdown files in the current folder and below docs/.
    """  # noqa: D301 -- click reads \b as: do not wrap
    from leaderboards.committed import blocks, rewritten
    from rewardkit.records.storage import atomic_write

    paths = files or (*sorted(Path().glob("*.md")), *sorted(Path("docs").rglob("*.md")))
    found = {path: blocks(path) for path in paths}
    for path in files:
        if not found[path]:
            raise InputError(
                f"{path} holds no table: add the lines '<!-- leaderboard: RESULTS -->' and "
                "'<!-- end of leaderboard -->'"
            )
    if not any(found.values()):
        raise InputError("no Markdown file here, or below docs/, holds a table: name FILE")
    stale = 0
    for path, parts in found.items():
        texts = {block: text for block in parts if (text := _text(block)) != block.text}
        stale += len(texts)
        for block in texts:
            echo(f"{block}: {'written' if write else 'does not match the results'}")
        if write and texts:
            content = rewritten(path, texts)
            with atomic_write(path) as temporary:
                temporary.write_text(content, "utf-8")
    total = sum(map(len, found.values()))
    if stale and not write:
        raise InputError(f"{stale} of {total} tables are stale: run the same command with --write")
    echo(f"{total} tables match the results", err=True)


def _text(block: Block) -> str:
    """The up-to-date text of a block."""
    from leaderboards.cli.request import made, parsed
    from leaderboards.render import markdown

    try:
        _, tables = made(**parsed(block.request, block.path.parent))
    except RewardKitError as error:
        raise InputError(f"{block}: {error}") from error
    return f"\n{markdown(tables)}\n"
