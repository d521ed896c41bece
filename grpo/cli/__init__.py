"""The `grpo` command group. Each command is imported when it is called.

`--help`, `methods`, `recipes` and `train --dry-run` do not import torch.
"""

from __future__ import annotations

from typing import ClassVar, final

import click

from rewardkit.cli.group import LazyGroup, version_option


@final
class _Group(LazyGroup):
    targets: ClassVar = {
        "train": "grpo.cli.train:train",
        "sample": "grpo.cli.sample:sample",
        "methods": "grpo.cli.catalogue:methods",
        "recipes": "grpo.cli.catalogue:recipes",
    }
    stopped = "The same command starts again."
    shared = frozenset({"train"})


@click.group("grpo", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def main() -> None:
    """Train image generators on reward models."""
