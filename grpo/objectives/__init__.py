"""What is a method's loss, and what does it need of a rollout? One file per kind of objective.

A kind has two classes: its settings, an `ObjectiveConfig` with their checks and counts, and an
`Objective` that names them as its `config_class`. The setting objective.kind chooses it by the name
it is registered with: in `KINDS`, or by another distribution in the entry-point group
`grpo.objectives`, as `KIND = "module:Objective"`. The base class is in `objective`; what forward
processes share is in `noising`.

A dry run reads settings without loading torch. The package's files therefore import torch, and what
imports it, inside functions. A plug-in may import it at its top; then a dry run loads it.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint
from pkgutil import resolve_name
from typing import Any

from rewardkit import plugins
from rewardkit.errors import RewardKitError, unknown

ENTRY_POINT_GROUP = "grpo.objectives"
KINDS = {
    "policy-gradient": "grpo.objectives.policy_gradient:PolicyGradient",
    "dpok": "grpo.objectives.dpok:Dpok",
    "forward-process": "grpo.objectives.forward_process:ForwardProcess",
    "weighted-matching": "grpo.objectives.weighted_matching:WeightedMatching",
    "group-preference": "grpo.objectives.group_preference:GroupPreference",
    "centered-reward": "grpo.objectives.centered_reward:CenteredReward",
    "reward-gradient": "grpo.objectives.reward_gradient:RewardGradient",
    "distillation": "grpo.objectives.distillation:Distillation",
}


def kinds() -> list[str]:
    """The kinds of objectives, the package's first; imports none of them."""
    return [*KINDS, *_plugins()]


def find(kind: str) -> type[Any]:
    """The `Objective` of a kind.

    Raises:
        UsageError: there is none.
        RewardKitError: a plug-in cannot be loaded.
    """
    found: type[Any]
    if kind in KINDS:
        found = resolve_name(KINDS[kind])
        return found
    others = _plugins()
    if kind not in others:
        raise unknown("objective", kind, kinds(), "grpo methods")
    found = plugins.load(others[kind], "objective plug-in")
    return found


@cache
def _plugins() -> dict[str, EntryPoint]:
    """The entry points of other distributions, by the kinds they name."""
    found: dict[str, EntryPoint] = {}
    for entry in plugins.entry_points(ENTRY_POINT_GROUP):
        if entry.name in KINDS or found.setdefault(entry.name, entry) is not entry:
            raise RewardKitError(
                f"the objective plug-in {entry.value!r} is of the kind {entry.name}, which there "
                "is already; uninstall one of them"
            )
    return found
