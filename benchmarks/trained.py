"""Which rewards a model was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rewardkit.engine.spec import parse
from rewardkit.errors import UsageError


def spec_of(trained_on: Mapping[str, Any] | None) -> str | None:
    """The spec of rewards that a model's card says it was trained on; None where it says nothing.

    A card that says something else is shown as it is.
    """
    if trained_on is None:
        return None
    return str(trained_on.get("reward", json.dumps(trained_on)))


def rewards_in(spec: str | None) -> tuple[str, ...]:
    """The names of the rewards in a spec, such as `0.7*hps.v2.1+1.4*clip@0.3`.

    A text that is not a spec names none.
    """
    try:
        return parse(spec or "", str).names
    except UsageError:
        return ()
