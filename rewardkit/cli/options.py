"""Options that commands share, and the rule for repeated options: they add up or are refused."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, final

import click

from rewardkit.errors import UsageError
from rewardkit.service import Endpoint


@final
class FiniteRange(click.FloatRange):
    """A range of finite numbers: click's own accepts NaN, which no bound excludes."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """As click's; refuses NaN and infinity."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="Device to compute on: auto, cpu, cuda, cuda:1, mps.",
)


def reward_option(**settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option -r, --reward, as the parameter `rewards`: `-r a -r b` is `-r a+b`.

    Args:
        settings: further arguments of `click.option`.
    """
    return click.option(
        "-r", "--reward", "rewards", metavar="SPEC", multiple=True, callback=_sum, **settings
    )


ENDPOINT = click.option(
    "--endpoint",
    metavar="URL",
    help="Base address of the service that rewards such as judge call, http://127.0.0.1:8000/v1. "
    "Its key is read from the environment variable REWARDKIT_ENDPOINT_KEY; for api.openai.com, "
    "also from OPENAI_API_KEY.",
)
JUDGE_MODEL = click.option(
    "--judge-model",
    metavar="NAME",
    help="Model at --endpoint that judges.  [default: its only one]",
)
_CONCURRENCY = click.option(
    "--concurrency",
    type=click.IntRange(1),
    help="Maximum number of calls to --endpoint at the same time.  "
    f"[default: {Endpoint.concurrency}]",
)
_TIMEOUT = click.option(
    "--timeout",
    type=FiniteRange(0, min_open=True),
    metavar="SECONDS",
    help=f"Seconds to wait for an answer of --endpoint.  [default: {Endpoint.timeout:g}]",
)


def endpoint_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of an endpoint, as the parameter `endpoint` of type `Endpoint | None`."""

    @functools.wraps(command)
    def with_endpoint(
        *args: Any,
        endpoint: str | None,
        judge_model: str | None,
        concurrency: int | None,
        timeout: float | None,
        **values: Any,
    ) -> Any:
        options = {"model": judge_model, "concurrency": concurrency, "timeout": timeout}
        settings: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
        if endpoint is None and settings:
            option = "--judge-model" if "model" in settings else f"--{next(iter(settings))}"
            raise UsageError(f"{option} is about calls to an endpoint: give --endpoint URL")
        chosen = None if endpoint is None else Endpoint(endpoint, **settings)
        return command(*args, endpoint=chosen, **values)

    return ENDPOINT(JUDGE_MODEL(_CONCURRENCY(_TIMEOUT(with_endpoint))))


def _sum(_: click.Context, __: click.Parameter, specs: tuple[str, ...]) -> str | None:
    # An empty spec, from an unset variable of the shell, is kept: the parser of specs refuses it.
    return "+".join(specs) if specs else None


def refuse_repeats(
    parent: click.Context, name: str, command: click.Command, arguments: list[str]
) -> None:
    """Refuses a repeated option that takes one value: click would use the last without a word.

    Args:
        parent: the context of the group.
        name: the command's name.
        command: the command that is called.
        arguments: the command's arguments.

    Raises:
        UsageError: an option is given twice.
    """
    context = command.context_class(
        command, info_name=name, parent=parent, resilient_parsing=True, **command.context_settings
    )
    try:
        used = command.make_parser(context).parse_args(args=list(arguments))[2]
    except click.UsageError:
        return  # the real parsing reports it, with the command's own context
    for option in dict.fromkeys(used):
        if not isinstance(option, click.Option) or option.multiple or option.count:
            continue
        if used.count(option) > 1 and not option.is_flag:
            raise UsageError(
                f"{max(option.opts, key=len)} is given {used.count(option)} times, but takes "
                "one value. Give it once"
            )
