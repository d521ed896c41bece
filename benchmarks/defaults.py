"""What a model is sampled with unless somebody says otherwise, of models that have a name here."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results import ModelInfo
from rewardkit.generators.aliases import ALIASES
from rewardkit.generators.protocol import Protocol, carried_protocol


def own_protocol(model: ModelInfo) -> Protocol | None:
    """The model's own protocol; None where it has no name here, or its name says none."""
    alias = ALIASES.get(model.alias or "")
    if alias is None:
        return None
    place = alias.place
    return alias.protocol or (carried_protocol(place) if isinstance(place, Path) else None)
