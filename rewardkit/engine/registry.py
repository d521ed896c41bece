"""Which rewards exist: register, list, resolve, create; plug-ins; plain functions.

A family is one file in `rewardkit/rewards/`, imported when names are first listed. Another
distribution adds its own through the entry-point group `rewardkit.rewards`, whose values are
modules that call `register` on import. A plain function needs no registration: `./my.py:score`; nor
does an `RewardEntry` that a family's factory makes.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
import pkgutil
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol, TypeVar

from rewardkit import plugins
from rewardkit.engine.card import RewardCard
from rewardkit.engine.functions import entry_of, load_attribute
from rewardkit.engine.reward import Reward, RewardEntry
from rewardkit.engine.spec import user_file
from rewardkit.errors import RewardKitError, UsageError, unknown

_log = logging.getLogger("rewardkit")
ENTRY_POINT_GROUP = "rewardkit.rewards"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*(\.[a-z0-9][a-z0-9.-]*)?")
_R = TypeVar("_R", bound=type[Reward])


class Scheme(Protocol):
    """Rewards that need no registration, SCHEME:PLACE; the place is that of weights, or a name.

    Attributes:
        form: how such a name is written, such as clip:owner/name.
    """

    form: str

    def check(self, place: str) -> str:
        """The place as it is recorded; nothing is read or downloaded.

        Raises:
            UsageError: nothing can be at such a place.
        """

    def entry(self, name: str, place: str) -> RewardEntry:
        """The reward of that name, whose card is made from what is at the place.

        Raises:
            WeightsError: what is there cannot be had, or is no such reward.
        """


_schemes: dict[str, Scheme] = {}
_entries: dict[str, RewardEntry] = {}
# Bare families and other short names -> what they stand for.
_defaults: dict[str, str] = {}


def register(
    *cards: RewardCard,
    default: str | None = None,
    short_names: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[_R], _R]:
    """Class decorator: the class scores every one of `cards`.

    Args:
        cards: one per name.
        default: what the bare family resolves to; needed where the family has several names.
        short_names: other names and what they resolve to, as `hps.frames` to `hps.v2.1-frames`.

    Raises:
        RewardKitError: a name is malformed or taken; both origins are told.
    """

    def decorate(cls: _R) -> _R:
        origin = f"{cls.__module__}.{cls.__qualname__} ({inspect.getfile(cls)})"
        for card in cards:
            if not _NAME.fullmatch(card.name):
                raise RewardKitError(
                    f"{card.name!r} is not a reward name: family or family.tag in lower-case "
                    "letters, digits and hyphens (and dots in the tag), such as 'hps.v2.1'"
                )
            taken = _entries.get(card.name)
            if taken is not None:
                raise RewardKitError(
                    f"the reward name {card.name!r} is taken: registered by {taken.origin}, "
                    f"and again by {origin}"
                )
            _entries[card.name] = RewardEntry(card, cls, origin)
        defaults = {} if default is None else {default.partition(".")[0]: default}
        for short, name in {**defaults, **short_names}.items():
            if short in _defaults:
                raise RewardKitError(f"{short!r} has two defaults: {_defaults[short]} and {name}")
            _defaults[short] = name
        return cls

    return decorate


def register_scheme(name: str, scheme: Scheme) -> None:
    """Make `NAME:PLACE` the name of rewards that `scheme` makes."""
    _schemes[name] = scheme


@functools.cache
def _discover() -> tuple[str, ...]:
    """Import every family of ours, then every plug-in; the errors of plug-ins that fail."""
    package = importlib.import_module("rewardkit.rewards")
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    broken = []
    for plugin in plugins.entry_points(ENTRY_POINT_GROUP):
        try:
            plugins.load(plugin, "reward plug-in")
        except RewardKitError as error:
            broken.append(str(error))
    return tuple(broken)


def list_rewards(kind: str | None = None) -> list[RewardCard]:
    """The cards of all registered rewards, by name; of one kind of input ("image", "video").

    A plug-in that cannot be loaded is left out, with a warning.
    """
    for reason in _discover():
        _log.warning(reason)
    cards = sorted((entry.card for entry in _entries.values()), key=lambda card: card.name)
    return [card for card in cards if kind is None or kind in card.inputs]


def resolve(name: str) -> str:
    """The registered name that `name` means: itself, or what a bare family stands for.

    FILE.py:NAME stays as it is, once the file and the name in it are there; so does SCHEME:PLACE,
    such as clip:owner/name, once the scheme is known and the place is well-formed.

    Raises:
        UsageError: nothing has that name; the nearest names are given, and plug-ins that cannot be
            loaded, one of which may have it.
    """
    if name in _entries:  # without looking further: families look each other up while imported
        return name
    broken = _discover()
    scheme, colon, place = name.partition(":")
    if colon and scheme.casefold() in _schemes:
        return f"{scheme.casefold()}:{_schemes[scheme.casefold()].check(place)}"
    if user_file(name) is not None:
        load_attribute(name)
        return name
    if name.endswith(".py"):
        raise UsageError(f"a function as a reward is written FILE.py:NAME, such as {name}:score")
    folded = name.casefold()
    folded = _defaults.get(folded, folded)
    if folded in _entries:
        return folded
    tags = sorted(known for known in _entries if known.startswith(folded + "."))
    if len(tags) == 1:
        return tags[0]
    if tags:
        raise UsageError(f"the family {name!r} has no default; choose one of {', '.join(tags)}")
    forms = ["FILE.py:NAME", *(scheme.form for _, scheme in sorted(_schemes.items()))]
    where = f"rewardkit list. Not registered, but accepted: {', '.join(forms)}"
    error = unknown("reward", name, [*_entries, *_defaults], where)
    raise UsageError("\n".join([str(error), *broken])) if broken else error


def entry(name: str) -> RewardEntry:
    """The registration that `name` resolves to."""
    name = resolve(name)
    scheme, colon, place = name.partition(":")
    if colon and scheme in _schemes:
        return _schemes[scheme].entry(name, place)
    return entry_of(name) if colon else _entries[name]
