"""Layers of settings over one another: defaults, a method, a recipe, and the user's own.

Nothing is checked here but that each setting exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from grpo.config.fields import ObjectiveConfig
from grpo.config.layers import Layer, layer
from grpo.config.settings import NONE, fields, typed, unknown_setting
from rewardkit.errors import UsageError

#: The origin of a setting that the user has given.
USER = "your setting"
_DEFAULT = "default"


@dataclass(frozen=True)
class Merged:
    """Merged settings, not yet checked; settings without a value are missing.

    Attributes:
        values: by dotted key.
        origins: of each value, as in `Resolved`.
        notes: what a layer has made meaningless in those below it.
    """

    values: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def merge(recipe: Layer | None, method: str | None, settings: Mapping[str, object]) -> Merged:
    """The layers over the classes' defaults.

    Raises:
        UsageError: the recipe is another method's, or a setting is unknown.
    """
    named = recipe.settings.get("method") if recipe is not None else None
    if recipe is not None and not isinstance(named, str):
        raise UsageError(f'the recipe {recipe.name} names no method; method = "nft" is one')
    if recipe is not None and method is not None and method != named:
        raise UsageError(
            f"the recipe {recipe.name} is for the method {named}, and the method {method} is "
            "given. Leave out one of the two"
        )
    method = method or str(named)
    stack = [(f"method {method}", layer("method", method).settings)]
    if recipe is not None:
        stack.append((f"recipe {recipe.name}", recipe.settings))
    chosen = {"method": method, "recipe": recipe.name if recipe is not None else None}
    stack += [(USER, settings), ("chosen", chosen)]
    merged = Merged()
    for origin, values in stack:
        lay(merged, origin, values)
    return _with_defaults(merged)


def lay(merged: Merged, origin: str, values: Mapping[str, object]) -> None:
    """Lays one layer over the others."""
    before = merged.values.get("objective.kind")
    kind = values.get("objective.kind", before)
    if before not in (None, kind):
        _leave_out_objective(merged, f"objective.kind is {kind} ({origin}) in place of {before}")
    known = fields(kind)
    for key, value in values.items():
        if key not in known:
            raise unknown_setting(key, origin, kind)
        text = isinstance(value, str) and (origin == USER or value == NONE)
        merged.values[key] = typed(known[key], str(value)) if text else value
        merged.origins[key] = origin


def _leave_out_objective(merged: Merged, cause: str) -> None:
    """Removes the settings that only the objective of the layers below has, and notes it."""
    common = {f"objective.{name}" for name in ObjectiveConfig.model_fields}
    dropped = [key for key in merged.values if key.startswith("objective.") and key not in common]
    for key in dropped:
        del merged.values[key], merged.origins[key]
    names = ", ".join(key.removeprefix("objective.") for key in dropped)
    merged.notes.append(f"{cause}, whose settings are left out: {names}" if names else cause)


def _with_defaults(merged: Merged) -> Merged:
    known = fields(merged.values.get("objective.kind"))
    defaults = {key: info.default for key, info in known.items() if not info.is_required()}
    origins = {key: merged.origins.get(key, _DEFAULT) for key in {**defaults, **merged.values}}
    return Merged({**defaults, **merged.values}, origins, merged.notes)
