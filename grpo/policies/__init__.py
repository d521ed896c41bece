"""Which families of diffusers pipelines can be trained: one file each, and plug-ins.

Another distribution adds a family through the entry-point group `grpo.policies`, whose values are
subclasses of `Policy`. What a policy promises, `grpo.testing` checks of any.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from grpo.policies.condition import Condition
from grpo.policies.flux import Flux
from grpo.policies.policy import Policy
from grpo.policies.qwen_image import QwenImage
from grpo.policies.sdxl import StableDiffusionXL
from grpo.policies.stable_diffusion import StableDiffusion
from grpo.policies.stable_diffusion_3 import StableDiffusion3
from grpo.policies.z_image import ZImage
from rewardkit import plugins
from rewardkit.errors import RewardKitError, UsageError
from rewardkit.generators import pipelines

if TYPE_CHECKING:
    import torch

    from grpo.config.fields import Config
    from rewardkit.generators.pipelines import Pipeline

__all__ = ["Condition", "Policy", "classes", "load", "of", "part"]

ENTRY_POINT_GROUP = "grpo.policies"


def of(pipeline: Pipeline, config: Config, device: torch.device | None = None) -> Policy:
    """The policy that trains a pipeline, whose networks become its own.

    Args:
        pipeline: of `load`, or of `rewardkit.generators.pipelines.load` in float32.
        config: `sampler`, `policy` and `seed` are read.
        device: where the network and the VAE go, once they are in their dtypes: from the CPU, a
            device that could not hold them in float32 is enough. None leaves them where they are.

    Raises:
        UsageError: no family trains pipelines of this class, or not as `config` says.
        RewardKitError: a plug-in cannot be loaded.
    """
    return _family(pipeline)(pipeline, config, device)


def part(pipeline: Pipeline) -> str:
    """The part of a pipeline that is trained.

    Raises:
        UsageError: no family trains pipelines of this class, or theirs trains several parts.
    """
    parts = _family(pipeline).parts
    if len(parts) > 1:
        raise UsageError(
            f"{pipeline.source} has several networks to train, {' and '.join(parts)}, and a LoRA "
            "to start from is taken for one. Merge it with diffusers' fuse_lora and "
            "save_pretrained, and train that folder"
        )
    return parts[0]


def classes() -> frozenset[str]:
    """The pipeline classes that can be trained, by ours and by plug-ins."""
    return frozenset(_families())


def _family(pipeline: Pipeline) -> type[Policy]:
    name = type(pipeline.diffusers).__name__
    families = _families()
    if name not in families:
        raise UsageError(
            f"{pipeline.source} is a {name}, which cannot be trained here. Accepted: "
            f"{', '.join(sorted(families))}"
        )
    return families[name]


def load(config: Config) -> Pipeline:
    """The pipeline of a run, on the CPU: what is frozen in its dtype, what is trained in float32.

    Raises:
        UsageError: nothing goes by the model's name, or it cannot be sampled here.
        WeightsError: its files are missing, cannot be downloaded, or do not fit.
    """
    full = config.policy.parameters == "full"
    return pipelines.load(
        config.model,
        device="cpu",
        dtype=config.policy.dtype,
        revision=config.revision,
        exact={part for family in _families().values() for part in family.parts} if full else (),
    )


@cache
def _families() -> dict[str, type[Policy]]:
    """The policies, ours and plug-ins', by the pipeline classes they train."""
    policies: list[type[Policy]] = [
        StableDiffusion, StableDiffusionXL, StableDiffusion3, Flux, QwenImage, ZImage,
    ]  # fmt: skip
    policies += [plugins.load(p, "policy plug-in") for p in plugins.entry_points(ENTRY_POINT_GROUP)]
    families: dict[str, type[Policy]] = {}
    for policy in policies:
        for name in policy.pipeline_classes:
            taken = families.setdefault(name, policy)
            if taken is not policy:
                raise RewardKitError(
                    f"pipelines of class {name} are trained by {taken.__module__} and again by "
                    f"{policy.__module__}; uninstall one of them"
                )
    return families
