"""The errors of rewardkit; their texts say what was given, what is accepted and what to do.

The library raises these and never prints; the command line turns them into one line on stderr and
an exit code (2 for `UsageError`, 1 for the rest). This module imports nothing of rewardkit.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RewardKitError(Exception):
    """The base of every error rewardkit raises on purpose; its text is meant for the user."""


class UsageError(RewardKitError):
    """The request itself is wrong (a name, an option, a spec); nothing was started."""


class InputError(RewardKitError):
    """An input cannot be used: a file, a prompt, a row."""


class MissingPackage(RewardKitError):
    """A library of an extra is not installed; see `rewardkit.extras`."""


class WeightsError(RewardKitError):
    """Weights are missing, are not the expected ones, or do not fit the architecture."""


class RewardUnavailable(RewardKitError):
    """Something a reward needs is gone, such as a service: the next sample fails as well.

    A reward or an extractor raises it. The run then stops, and keeps what was scored before.
    """


class ScoringError(RewardKitError):
    """One sample of a batch could not be scored.

    Attributes:
        index: position of the sample among those given to the scorer.
        cause: the error that this sample raised.
    """

    def __init__(self, index: int, cause: Exception) -> None:
        super().__init__(f"sample {index} cannot be scored: {describe(cause)}")
        self.index = index
        self.cause = cause


def describe(error: BaseException) -> str:
    """An error as one line: the text of a RewardKitError, otherwise type, text and notes."""
    text = " ".join(str(error).split())
    if isinstance(error, RewardKitError):
        return text
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    notes = dict.fromkeys(getattr(error, "__notes__", ()))
    return f"{text} ({'; '.join(notes)})" if notes else text


def unknown(kind: str, name: str, known: Iterable[str], see: str) -> UsageError:
    """The error for an unknown name, with the nearest known names.

    Args:
        kind: what is named, such as "reward".
        name: the unknown name.
        known: every accepted name.
        see: the command that lists them.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.6)
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    list_of_names = f"Known: {', '.join(names)}" if 0 < len(names) <= 8 else f"See: {see}"
    return UsageError(f"unknown {kind} {name!r}.{hint} {list_of_names}")
