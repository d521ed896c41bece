"""UNets that predict eps or v: what Stable Diffusion 1, 2 and XL have in common."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any

from grpo.policies.policy import Policy
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from grpo.config.fields import SamplerConfig
    from grpo.sampler import DiffusionSampler
    from rewardkit.generators.pipelines import Pipeline


class UNet(Policy, ABC):
    """A policy whose UNet is sampled with DDIM's steps.

    Raises:
        UsageError: the UNet is given its guidance (a latent consistency model).
    """

    parts = ("unet",)
    rules = ("ddim",)
    # All attention, of pixels among themselves and to text: kvablack/ddpo-pytorch scripts/train.py.
    targets = ("to_q", "to_k", "to_v", "to_out.0")
    has_text_length = False

    def _check(self, pipeline: Pipeline) -> None:
        pipe: Any = pipeline.diffusers
        if pipe.unet.config.time_cond_proj_dim is not None:
            raise UsageError(
                f"{pipeline.source} is a latent consistency model: few steps, each of its own "
                "kind, instead of DDIM's. Train the model it was distilled from"
            )

    def _schedule(self, config: SamplerConfig) -> DiffusionSampler:
        from grpo.sampler import DiffusionSampler

        return DiffusionSampler.from_scheduler(self._pipe.scheduler, config, self.device)
