"""The `rewardkit` command: one group, its commands loaded when they are called.

Another distribution adds a command through the entry-point group `rewardkit.commands`.
"""

from __future__ import annotations

from typing import ClassVar, final

import click

from rewardkit.cli.group import LazyGroup, version_option


@final
class _Group(LazyGroup):
    targets: ClassVar = {
        "list": "rewardkit.cli.rewards:list_command",
        "show": "rewardkit.cli.rewards:show",
        "score": "rewardkit.cli.score:score",
        "compare": "rewardkit.cli.compare:compare",
        "threshold": "rewardkit.cli.threshold:threshold",
        "verify": "rewardkit.cli.verify:verify",
        "pull": "rewardkit.cli.pull:pull",
        "generate": "rewardkit.cli.generate:generate",
        "sheet": "rewardkit.cli.sheet:sheet",
        "pipelines": "rewardkit.cli.pipelines:pipelines",
    }
    plugins = "rewardkit.commands"
    shared = frozenset({"score", "bench"})
    stopped = "With -o, the same command resumes."


@click.group("rewardkit", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def main() -> None:
    """Score images and videos, and measure and compare models."""
