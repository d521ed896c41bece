"""`python -m rewardkit.cli.document`: every command's --help as one page of Markdown."""

from __future__ import annotations

import os
import sys

import click

from rewardkit.cli import main


def page() -> str:
    """The page; a test compares it with `docs/cli.md`."""
    context = click.Context(main, info_name="rewardkit", terminal_width=100)
    parts = ["# The command line", "Written by `make docs` from `--help`.", _help(main, context)]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        sub = click.Context(command, parent=context, info_name=name, terminal_width=100)
        parts += [f"## rewardkit {name}", _help(command, sub)]
    return "\n\n".join(parts) + "\n"


def _help(command: click.Command, context: click.Context) -> str:
    return f"```\n{command.get_help(context).rstrip()}\n```"


if __name__ == "__main__":
    # Defaults that depend on the machine must not show.
    os.environ.pop("COLUMNS", None)
    sys.stdout.write(page())
