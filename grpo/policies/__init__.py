"""Which families of diffusers pipelines can be trained: one file and one line each, and plug-ins.

Another distribution adds a family through the entry-point group `grpo.policies`, whose values are
subclasses of `Policy`. What a policy promises, `grpo.testing` checks of any.

A dry run reads the classes where torch is not loaded: the package's files therefore import torch,
and what imports it, where they use it. A plug-in may import it at its top.
"""

from __future__ import annotations

from functools import cache
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from grpo.policies.condition import Condition
from grpo.policies.policy import Policy
from rewardkit import plugins
from rewardkit.errors import RewardKitError, UsageError
from rewardkit.generators import pipelines

if TYPE_CHECKING:
    import torch

    from grpo.config.fields import Config
    from grpo.distributed import World
    from rewardkit.generators.pipelines import Pipeline

__all__ = ["Condition", "Policy", "families", "load", "of", "part"]

ENTRY_POINT_GROUP = "grpo.policies"
POLICIES = (
    "grpo.policies.stable_diffusion:StableDiffusion",
    "grpo.policies.sdxl:StableDiffusionXL",
    "grpo.policies.stable_diffusion_3:StableDiffusion3",
    "grpo.policies.flux:Flux",
    "grpo.policies.flux2_klein:Flux2Klein",
    "grpo.policies.qwen_image:QwenImage",
    "grpo.policies.z_image:ZImage",
    "grpo.policies.hunyuan_video:HunyuanVideo",
    "grpo.policies.skyreels:SkyReels",
    "grpo.policies.wan:WanTextToVideo",
    "grpo.policies.wan:WanImageToVideo",
)


def of(
    pipeline: Pipeline,
    config: Config,
    device: torch.device | None = None,
    world: World | None = None,
) -> Policy:
    """The policy that trains a pipeline, whose networks become its own.

    Args:
        pipeline: of `load`, or of `rewardkit.generators.pipelines.load` in float32.
        config: `sampler`, `policy` and `seed` are read.
        device: where the network and the VAE go, once they are in their dtypes: from the CPU, a
            device that could not hold them in float32 is enough. None leaves them where they are.
        world: the processes that train it together; None is this one alone.

    Raises:
        UsageError: no family trains pipelines of this class, or not as `config` says; or the
            pipeline has loaded tuned weights.
        RewardKitError: a plug-in cannot be loaded.
    """
    if pipeline.tuned is not None:
        raise UsageError(
            f"the pipeline has loaded the tuned weights {pipeline.tuned}, and training starts "
            "from a pipeline without any. Give a folder with all weights as the model. Give a "
            "LoRA as policy.init_lora, or merge it with diffusers' fuse_lora and "
            "save_pretrained, and train that folder"
        )
    return _family(pipeline)(pipeline, config, device, world)


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


def _family(pipeline: Pipeline) -> type[Policy]:
    name = type(pipeline.diffusers).__name__
    known = families()
    if name not in known:
        raise UsageError(
            f"{pipeline.source} is a {name}, which cannot be trained here. Accepted: "
            f"{', '.join(sorted(known))}"
        )
    return known[name]


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
        exact={part for family in families().values() for part in family.parts} if full else (),
    )


@cache
def families() -> dict[str, type[Policy]]:
    """The policies, ours and plug-ins', by the pipeline classes they train.

    Raises:
        RewardKitError: a plug-in cannot be loaded, or trains what another policy does.
    """
    policies: list[type[Policy]] = [resolve_name(name) for name in POLICIES]
    policies += [plugins.load(p, "policy plug-in") for p in plugins.entry_points(ENTRY_POINT_GROUP)]
    known: dict[str, type[Policy]] = {}
    for policy in policies:
        for name in policy.pipeline_classes:
            taken = known.setdefault(name, policy)
            if taken is not policy:
                raise RewardKitError(
                    f"pipelines of class {name} are trained by {taken.__module__} and again by "
                    f"{policy.__module__}; uninstall one of them"
                )
    return known
