"""Were two score tables made alike? What their .meta.json say of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.errors import describe
from rewardkit.records.scorefile import meta_path
from rewardkit.records.storage import first_difference


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
        yield f"a .meta.json cannot be read, so both may not be scored alike: {describe(error)}"
        return
    for name in names:
        difference = first_difference(first.of(name), second.of(name))
        if difference is not None:
            yield (
                f"{name} was not scored alike, its numbers are not comparable: {difference.key} is "
                f"{difference.before} in {before} and {difference.after} in {after}"
            )
