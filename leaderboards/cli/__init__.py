"""`rewardkit leaderboard`: a group of commands, loaded when they are called."""

from __future__ import annotations

from typing import ClassVar, final

import click

from rewardkit.cli.group import LazyGroup


@final
class _Group(LazyGroup):
    targets: ClassVar = {
        "table": "leaderboards.cli.table:table",
        "build": "leaderboards.cli.build:build",
        "check": "leaderboards.cli.check:check",
    }
    stopped = "The same command starts afresh."


@click.group("leaderboard", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def leaderboard() -> None:
    """Rank models in tables and on a page."""
