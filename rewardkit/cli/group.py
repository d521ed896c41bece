"""A command group: commands loaded when they are called, errors told in one line.

Errors of the library become one line on stderr here, and nowhere else: exit 2 for wrong usage, 1
for a failure, 130 for Ctrl-C. stdout is data, stderr everything else.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar

import click

from rewardkit.cli.options import refuse_repeats
from rewardkit.errors import RewardKitError, UsageError, describe, unknown


class LazyGroup(click.Group, ABC):
    """A group whose commands are looked up by name: its own first, then plug-ins'.

    Attributes:
        targets: command -> "module:attribute".
        plugins: the entry-point group through which other distributions add commands, if any.
        stopped: what Ctrl-C is answered.
    """

    targets: ClassVar[Mapping[str, str]]
    plugins: ClassVar[str | None] = None
    stopped: ClassVar[str]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names: ours in the order of `targets`, then plug-ins' by name."""
        plugged = {entry.name for entry in self._plugged()}
        return [*self.targets, *sorted(plugged - set(self.targets))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported; None where there is none.

        A plug-in's that cannot be loaded tells why when it is called; until then the others work.
        """
        if cmd_name in self.targets:
            module, _, attribute = self.targets[cmd_name].partition(":")
            return _command(getattr(importlib.import_module(module), attribute))
        for entry in self._plugged():
            if entry.name == cmd_name:
                try:
                    return _command(_loaded(entry))
                except RewardKitError as error:
                    return _unloadable(cmd_name, error)
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with near misses."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown("command", name, self.list_commands(ctx), f"{self.name} --help")
        found = super().resolve_command(ctx, args)
        if found[1] is not None:
            refuse_repeats(ctx, name, found[1], found[2])
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, with errors of the library told and turned into exit codes."""
        # Names that are not UTF-8 must not end a report: print them escaped.
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except RewardKitError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2 if isinstance(error, UsageError) else 1)
        except KeyboardInterrupt:
            click.echo(f"\nStopped. {self.stopped}", err=True)
            ctx.exit(130)

    def _plugged(self) -> list[importlib.metadata.EntryPoint]:
        if self.plugins is None:
            return []
        return list(importlib.metadata.entry_points(group=self.plugins))


def _loaded(entry: importlib.metadata.EntryPoint) -> Any:
    """What an entry point names; where another module of that name is in the way, it is told."""
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        top = entry.module.partition(".")[0]
        found = importlib.util.find_spec(top)
        where = (
            "nowhere" if found is None else found.origin or str(found.submodule_search_locations)
        )
        owner = entry.dist.name if entry.dist else "an unnamed distribution"
        raise RewardKitError(
            f"the command {entry.name} of {owner} cannot be loaded: {describe(error)}. The module "
            f"{top} was found at {where}; if that is another one, run from another folder"
        ) from error


def _unloadable(name: str, error: RewardKitError) -> click.Command:
    def tell(**_: Any) -> None:
        raise error

    return click.Command(
        name,
        callback=tell,
        help="Cannot be loaded: call it to see why.",
        # Whatever it is called with, --help too, is answered by the error.
        params=[click.Argument(["rest"], nargs=-1, type=click.UNPROCESSED)],
        add_help_option=False,
        context_settings={"ignore_unknown_options": True},
    )


def _command(found: Any) -> click.Command:
    if not isinstance(found, click.Command):
        raise RewardKitError(f"{found!r} was registered as a command but is no click.Command")
    return found


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        click.echo(f"{ctx.command.name} {importlib.metadata.version('visual-rewardkit')}")
        ctx.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
