"""The RunCard: what a model was trained on, and how, for sampling and leaderboards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
) -> dict[str, Any]:
    """`rewardkit.json` of a run and of its export.

    What a model was trained on before counts as well: those rewards are added to the run's, and
    `before` says more of them.
    """
    before = start.trained_on if start is not None else pipeline.trained_on
    lora = {"source": str(start.file), "sha256": start.sha256} if start is not None else None
    return {
        "base": {"source": pipeline.source, "alias": pipeline.alias, "revision": pipeline.revision},
        "init_lora": lora,
        "trained_on": {
            "reward": _with_earlier(rewards.spec, before),
            "before": before,
            "weights": {
                name: located.model_dump(mode="json", exclude={"path"})
                for name, located in rewards.located.items()
            },
            "services": {
                name: dict(called)
                for name, reward in rewards.scorer.rewards.items()
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


def _with_earlier(spec: RewardSpec, before: Mapping[str, Any] | None) -> str:
    """A spec, and the rewards of an earlier training that are not in it."""
    try:
        earlier = parse(str((before or {})["reward"]), str).names
    except (KeyError, UsageError):
        earlier = ()
    return "+".join([str(spec), *(name for name in earlier if name not in spec.names)])
