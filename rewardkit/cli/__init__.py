"""The `rewardkit` command: one group, its commands loaded when they are called.

Another distribution adds a command through the entry-point group `rewardkit.commands`. Errors of
the library become one line on stderr here, and nowhere else: exit 2 for wrong usage, 1 for a
failure, 130 for Ctrl-C. stdout is data, stderr everything else.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import Any

import click

from rewardkit.errors import RewardKitError, UsageError, unknown

ENTRY_POINT_GROUP = "rewardkit.commands"
_COMMANDS = {
    "list": "rewardkit.cli.rewards:list_command",
    "show": "rewardkit.cli.rewards:show",
    "score": "rewardkit.cli.score:score",
    "compare": "rewardkit.cli.compare:compare",
    "threshold": "rewardkit.cli.threshold:threshold",
    "verify": "rewardkit.cli.verify:verify",
    "pull": "rewardkit.cli.pull:pull",
}


class _Group(click.Group):
    """A group whose commands are looked up by name: ours first, then plug-ins'."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        plugged = (entry.name for entry in _plugged())
        return [*_COMMANDS, *sorted(set(plugged) - set(_COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            module, _, attribute = _COMMANDS[cmd_name].partition(":")
            return _command(getattr(importlib.import_module(module), attribute))
        for entry in _plugged():
            if entry.name == cmd_name:
                return _command(entry.load())
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown("command", name, self.list_commands(ctx), "rewardkit --help")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RewardKitError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2 if isinstance(error, UsageError) else 1)
        except KeyboardInterrupt:
            click.echo("\nStopped. With -o, the same command goes on where it was.", err=True)
            ctx.exit(130)


def _plugged() -> list[importlib.metadata.EntryPoint]:
    return list(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP))


def _command(found: Any) -> click.Command:
    if not isinstance(found, click.Command):
        raise RewardKitError(f"{found!r} was registered as a command but is no click.Command")
    return found


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"rewardkit {importlib.metadata.version('visual-rewardkit')}")
        ctx.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="Show the version and exit.",
)  # fmt: skip
def main() -> None:
    """Score pictures and clips with reward models."""
    # Names that are not UTF-8 must not end a report: print them escaped.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
