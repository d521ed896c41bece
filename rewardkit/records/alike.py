"""Were two things made alike? All that they say differently; of score tables, by .meta.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.errors import describe
from rewardkit.records.scorefile import meta_path
from rewardkit.records.storage import Difference


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Iterator[Difference]:
    """Every place where two JSON values differ, in the order of `before`."""
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key), after.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from differences(one, other, f"{prefix}{key}.")
        elif one != other or (key in before) != (key in after):
            texts = (
                json.dumps(side[key], ensure_ascii=False) if key in side else "absent"
                for side in (before, after)
            )
            yield Difference(f"{prefix}{key}", *texts)


@dataclass(frozen=True)
class _Meta:
    """The part of a .meta.json that decides numbers."""

    rewards: dict[str, dict[str, Any]]
    spec: str | None = None
    sampling: dict[str, Any] | None = None

    def of(self, name: str) -> dict[str, Any]:
        about = {"spec": self.spec} if name == "total" else self.rewards.get(name, {})
        return {**about, "sampling": self.sampling}


def differently_scored(before: Path, after: Path, names: Iterable[str]) -> Iterator[str]:
    """One line for each score that two tables did not get alike, as their .meta.json say.

    Args:
        before: path of the first table.
        after: path of the second table.
        names: of the scores.
    """
    if not (meta_path(before).exists() and meta_path(after).exists()):
        return
    from pydantic import TypeAdapter

    meta = TypeAdapter(_Meta)
    try:
        first, second = (
            meta.validate_json(meta_path(table).read_bytes()) for table in (before, after)
        )
    except (OSError, ValueError) as error:
        yield (
            "a .meta.json cannot be read, so it is unknown whether both were scored alike: "
            f"{describe(error)}"
        )
        return
    for name in names:
        told = [
            f"{one.key} is {one.before} in {before} and {one.after} in {after}"
            for one in differences(first.of(name), second.of(name))
        ]
        if told:
            yield (
                f"{name} was not scored alike, so its numbers are not comparable: {'; '.join(told)}"
            )
