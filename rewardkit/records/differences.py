"""Where two JSON values differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Difference(NamedTuple):
    """A place where two JSON values differ: a dotted key, and both values as JSON text."""

    key: str
    before: str
    after: str


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Iterator[Difference]:
    """Every place where two JSON objects differ, in the order of `before`; `prefix` leads each."""
    for key in dict.fromkeys((*before, *after)):
        first, second = before.get(key), after.get(key)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            yield from differences(first, second, f"{prefix}{key}.")
        elif first != second or (key in before) != (key in after):
            texts = (
                json.dumps(side[key], ensure_ascii=False) if key in side else "absent"
                for side in (before, after)
            )
            yield Difference(f"{prefix}{key}", *texts)


def first_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference | None:
    """The first place where two JSON objects differ; None where they are equal."""
    return next(differences(before, after), None)
