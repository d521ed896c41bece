"""Compares how two score tables were scored, by the .meta.json beside each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardkit.errors import describe
from rewardkit.records.differences import differences
from rewardkit.records.scorefile import meta_path


@dataclass(frozen=True)
class _Meta:
    """The part of a .meta.json that decides numbers."""

    rewards: dict[str, dict[str, Any]]
    spec: str | None = None
    sampling: dict[str, Any] | None = None

    def of(self, name: str) -> dict[str, Any]:
        """What decided the score of that name."""
        settings = {"spec": self.spec} if name == "total" else self.rewards.get(name, {})
        return {**settings, "sampling": self.sampling}


def differently_scored(before: Path, after: Path, names: Iterable[str]) -> Iterator[str]:
    """One line for each score that was made by other settings in one table than in the other.

    Args:
        before: path of the first table.
        after: path of the second table.
        names: the scores to look at.
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
            "a .meta.json cannot be read, so it is unknown whether both have the same settings: "
            f"{describe(error)}"
        )
        return
    for name in names:
        reasons = [
            f"{difference.key} is {difference.before} in {before} and {difference.after} in {after}"
            for difference in differences(first.of(name), second.of(name))
        ]
        if reasons:
            yield (
                f"{name} was scored with different settings, so its scores are not comparable: "
                f"{'; '.join(reasons)}"
            )
