"""Options of `grpo`: what is given twice is added up or refused, never overridden."""

from __future__ import annotations

from collections import Counter
from typing import final

import click

from rewardkit.errors import UsageError


@final
class Command(click.Command):
    """A command that refuses an option with one value where it is given twice."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's, once each option is looked at."""
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for param, times in Counter(order).items():
                if isinstance(param, click.Option) and not (param.multiple or param.is_flag):
                    _once(param, times)
        return super().parse_args(ctx, args)


def _once(option: click.Option, times: int) -> None:
    if times > 1:
        raise UsageError(f"{max(option.opts, key=len)} is given {times} times; it takes one value")
