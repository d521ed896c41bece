"""A command group that imports a command when it is called and prints an error as one line.

Errors of the library, of the disk and of memory become one line on stderr here, and nowhere else:
exit 2 for wrong usage, 1 for a failure, 130 for Ctrl-C. stdout is data, stderr everything else.
Of several processes of one job, the first prints; the others print only what went wrong in them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import os
import sys
import time
from abc import ABC
from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any, ClassVar

import click

from rewardkit.cli.options import refuse_repeats
from rewardkit.cli.streams import (
    machine_refusal,
    open_standard_streams,
    reporting_disk_errors_of_threads,
)
from rewardkit.cli.terminal import LogHandler, echo
from rewardkit.errors import RewardKitError, UsageError, unknown
from rewardkit.plugins import entry_points, load
from rewardkit.processes import AnotherProcessFailed, Processes

# Seconds that a process waits for another, which has failed, to say why.
_PATIENCE = 3.0


class LazyGroup(click.Group, ABC):
    """A group whose commands are looked up by name: its own first, then plug-ins'.

    Attributes:
        targets: command -> "module:attribute".
        plugins: the entry-point group through which other distributions add commands, if any.
        stopped: the message after Ctrl-C.
        shared: the commands, and groups of commands, that several processes may run together.
    """

    targets: ClassVar[Mapping[str, str]]
    plugins: ClassVar[str | None] = None
    stopped: ClassVar[str]
    shared: ClassVar[Set[str]] = frozenset()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands: `targets` in order, then those of plug-ins by name."""
        plugged = {entry.name for entry in self._plugged()}
        return [*self.targets, *sorted(plugged - set(self.targets))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported; None where there is none.

        A plug-in's command that cannot be loaded reports why when it is called; others still work.
        """
        if cmd_name in self.targets:
            module, _, attribute = self.targets[cmd_name].partition(":")
            return _command(getattr(importlib.import_module(module), attribute))
        for entry in self._plugged():
            if entry.name == cmd_name:
                try:
                    return _command(load(entry, "command"))
                except RewardKitError as error:
                    return _unloadable(cmd_name, error)
        return None

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's, with the standard streams open even where the shell closed them."""
        open_standard_streams()
        with reporting_disk_errors_of_threads():
            return super().main(*args, **kwargs)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; an unknown command is reported with the nearest known ones."""
        processes = Processes.of_launcher()
        try:
            return self._resolved(ctx, args, processes)
        except UsageError:
            if not processes.first:  # every process would say the same
                ctx.exit(2)
            raise

    def _resolved(
        self, ctx: click.Context, args: list[str], processes: Processes
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise unknown("command", name, self.list_commands(ctx), f"{self.name} --help")
        if not processes.alone and name not in self.shared:
            raise UsageError(
                f"{ctx.command_path} {name} runs in one process, and this is one of "
                f"{processes.size} (WORLD_SIZE): start it without torchrun or accelerate launch"
            )
        found = super().resolve_command(ctx, args)
        if found[1] is not None:
            refuse_repeats(ctx, name, found[1], found[2])
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, with errors of the library printed and turned into exit codes."""
        # A name that is not UTF-8 must not stop the output: it is printed escaped.
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        rank = 0
        try:
            rank = Processes.of_launcher().rank
            _set_up_output(rank)
            return super().invoke(ctx)
        except RewardKitError as error:
            if rank > 0 and isinstance(error, AnotherProcessFailed):
                # A launcher ends all processes when one fails: that one may still be printing.
                time.sleep(_PATIENCE)
            else:
                _report(f"{_prefix(rank)}Error: {error}")
            ctx.exit(2 if isinstance(error, UsageError) else 1)
        except click.ClickException as error:
            if rank > 0:  # every process would say the same
                ctx.exit(error.exit_code)
            raise
        except KeyboardInterrupt:
            if rank == 0:
                _report(f"\nStopped. {self.stopped}")
            ctx.exit(130)
        except (OSError, MemoryError, RuntimeError) as error:
            reason = machine_refusal(error)
            if reason is None:
                raise
            _report(f"{_prefix(rank)}Error: {reason}")
            ctx.exit(1)

    def _plugged(self) -> list[importlib.metadata.EntryPoint]:
        return [] if self.plugins is None else entry_points(self.plugins)


def _set_up_output(rank: int) -> None:
    """Lets the first process print everything, and the others only their errors."""
    logging.basicConfig(handlers=[handler := LogHandler(_prefix(rank))])
    if rank > 0:
        handler.setLevel(logging.ERROR)
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def _prefix(rank: int) -> str:
    return f"[process {rank}] " if rank > 0 else ""


def _report(message: str) -> None:
    with suppress(OSError):  # stderr may lie on the full disk too
        echo(message, err=True)


def _unloadable(name: str, error: RewardKitError) -> click.Command:
    def report(**_: Any) -> None:
        raise error

    return click.Command(
        name,
        callback=report,
        help="Cannot be loaded: call it to see why.",
        # Any arguments, --help too, lead to the error.
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
        echo(f"{ctx.command.name} {importlib.metadata.version('visual-rewardkit')}")
        ctx.exit()


version_option = click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
