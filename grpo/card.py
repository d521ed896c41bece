"""The RunCard: what a model was trained on, and how, for sampling and leaderboards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from grpo.config.fields import Config
from grpo.config.layers import layer
from grpo.rewards import Rewards
from grpo.start import Start
from rewardkit.devices import arithmetic
from rewardkit.engine.spec import RewardSpec, parse
from rewardkit.errors import RewardKitError, UsageError
from rewardkit.generators.pipelines import Pipeline
from rewardkit.media.prompts import PromptLine
from rewardkit.records.provenance import now, sha256_text, versions


def run_card(
    config: Config,
    pipeline: Pipeline,
    rewards: Rewards,
    lines: Sequence[PromptLine],
    start: Start | None = None,
    teachers: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """`rewardkit.json` of a run and of its export.

    What a model was trained on before counts as well: those rewards are added to the run's, and
    `before` says more of them. Where models teach, rewards are only watched: theirs are named.

    Args:
        config: the run.
        pipeline: its model.
        rewards: those of the run.
        lines: its prompts.
        start: the LoRA that it starts from.
        teachers: see `grpo.objectives.objective.Objective.teachers`.
    """
    teachers = teachers or {}
    before = start.trained_on if start is not None else pipeline.trained_on
    lora = {"source": str(start.file), "sha256": start.sha256} if start is not None else None
    located, scored = ({}, {}) if teachers else (rewards.located, rewards.scorer.rewards)
    earlier = [before, *(teacher["trained_on"] for teacher in teachers.values())]
    spec = _with_earlier(None if teachers else rewards.spec, earlier)
    return {
        "base": {"source": pipeline.source, "alias": pipeline.alias, "revision": pipeline.revision},
        "init_lora": lora,
        "trained_on": {
            **({"reward": spec} if spec else {}),  # what teachers were trained on may be unknown
            **({"teachers": teachers} if teachers else {}),
            "before": before,
            "weights": {
                name: file.model_dump(mode="json", exclude={"path"})
                for name, file in located.items()
            },
            "services": {
                name: dict(called)
                for name, reward in scored.items()
                if (called := reward.provenance())
            },
            "prompts": {
                "source": config.prompts,
                "number": len(lines),
                "sha256": sha256_text("\n".join(line.prompt for line in lines)),
            },
        },
        "method": _method(config),
        "recipe": config.recipe,
        "seed": config.seed,
        "objective": config.objective.model_dump(mode="json"),
        "advantage": config.advantage.model_dump(mode="json"),
        "sampler": config.sampler.model_dump(mode="json"),
        "protocol": pipeline.protocol.model_dump(mode="json"),
        "arithmetic": arithmetic(),
        "versions": versions(),
        "started": now(),
    }


def _method(config: Config) -> str:
    """The method's name, and the kind of objective where it is not the method's own."""
    kind = config.objective.kind
    try:
        own = layer("method", config.method).settings.get("objective.kind", kind)
    except RewardKitError:  # a file that is there no more
        own = kind
    return config.method if own == kind else f"{config.method} with objective.kind={kind}"


def _with_earlier(spec: RewardSpec | None, before: Sequence[Mapping[str, Any] | None]) -> str:
    """A spec, and the rewards of earlier trainings that are not in it; empty where none is."""
    earlier: list[str] = []
    for training in before:
        with suppress(KeyError, UsageError):
            earlier += parse(str((training or {})["reward"]), str).names
    own, names = ([], ()) if spec is None else ([str(spec)], spec.names)
    return "+".join([*own, *(name for name in dict.fromkeys(earlier) if name not in names)])
