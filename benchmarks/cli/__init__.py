"""`rewardkit bench`: a group of commands, loaded when they are called."""

from __future__ import annotations

from typing import ClassVar, final

import click

from rewardkit.cli.group import LazyGroup


@final
class _Group(LazyGroup):
    targets: ClassVar = {
        "list": "benchmarks.cli.catalogue:list_command",
        "show": "benchmarks.cli.catalogue:show",
        "run": "benchmarks.cli.run:run",
        "generate": "benchmarks.cli.run:generate",
        "score": "benchmarks.cli.run:score",
        "compare": "benchmarks.cli.compare:compare",
        "merge": "benchmarks.cli.merge:merge",
        "preferences": "benchmarks.cli.preferences:preferences",
        "convert-geneval-detector": "benchmarks.cli.convert:convert",
    }
    stopped = "The same command resumes."
    shared = frozenset({"run", "generate", "score"})


@click.group("bench", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Run benchmarks: generate, score, compare."""
