"""What other distributions add: entry points, found and loaded so that a broken one breaks itself.

rewardkit.rewards     modules that call `rewardkit.register`     (rewardkit.engine.registry)
rewardkit.benchmarks  modules that call `register`               (benchmarks.benchmark)
rewardkit.commands    click commands                             (rewardkit.cli)
grpo.policies         subclasses of `Policy`                     (grpo.policies)
grpo.objectives       subclasses of `Objective`                  (grpo.objectives)
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from importlib import metadata
from typing import Any

from rewardkit.errors import RewardKitError, describe


def entry_points(group: str) -> list[metadata.EntryPoint]:
    """The entry points of a group by name; a distribution whose list cannot be read adds none."""
    found: list[metadata.EntryPoint] = []
    try:
        found.extend(metadata.entry_points(group=group))
    except Exception:  # a line without "=" in any distribution's list is a TypeError for all
        for distribution in metadata.distributions():
            try:
                found.extend(distribution.entry_points.select(group=group))
            except Exception:
                continue
    return sorted(found)


def load(entry: metadata.EntryPoint, kind: str) -> Any:
    """What an entry point names.

    Args:
        entry: of another distribution.
        kind: what it should be, such as "reward" or "policy", as the error says it.

    Raises:
        RewardKitError: it cannot be loaded; whatever its module raises, `SystemExit` too.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for data
            return entry.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        owner = entry.dist.name if entry.dist else "an unnamed distribution"
        raise RewardKitError(
            f"the {kind} {entry.name} ({entry.value}) of {owner} cannot be loaded: "
            f"{describe(error)}. {_advice(entry, error)}"
        ) from error


def _advice(entry: metadata.EntryPoint, error: BaseException) -> str:
    if entry.pattern.match(entry.value) is None:
        return f"{entry.value!r} is not module:attribute: its author has to fix it"
    if not isinstance(error, ImportError | AttributeError):
        return "Its author has to fix it; to work without it, uninstall the distribution"
    top = entry.module.partition(".")[0]
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        found = None
    where = "nowhere" if found is None else found.origin or str(found.submodule_search_locations)
    return f"The module {top} was found at {where}; if that is another one, run from another folder"
