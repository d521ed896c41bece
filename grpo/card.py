"""The RunCard: what a model was trained on, and how, for whoever samples or ranks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpo.config import Config
from grpo.rewards import Rewards
from rewardkit.media.prompts import PromptLine
from rewardkit.models.devices import arithmetic
from rewardkit.models.pipelines import Pipeline
from rewardkit.records.provenance import now, sha256_text, versions


def run_card(
    config: Config, pipeline: Pipeline, rewards: Rewards, lines: Sequence[PromptLine]
) -> dict[str, Any]:
    """`rewardkit.json` of a run and of its export."""
    return {
        "base": {"source": pipeline.source, "alias": pipeline.alias, "revision": pipeline.revision},
        "trained_on": {
            "reward": str(rewards.spec),
            "weights": {
                name: located.model_dump(mode="json", exclude={"path"})
                for name, located in rewards.located.items()
            },
            "prompts": {
                "source": config.prompts,
                "number": len(lines),
                "sha256": sha256_text("\n".join(line.prompt for line in lines)),
            },
        },
        "method": config.method,
        "recipe": config.recipe,
        "seed": config.seed,
        "sampler": config.sampler.model_dump(mode="json"),
        "protocol": pipeline.protocol.model_dump(mode="json"),
        "arithmetic": arithmetic(),
        "versions": versions(),
        "started": now(),
    }
