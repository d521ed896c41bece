"""Rectified flows: what the policies of transformers that predict a velocity have in common."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, ClassVar

from grpo.config.sampler import FLOW_RULES
from grpo.policies.policy import Policy

if TYPE_CHECKING:
    from grpo.config.fields import SamplerConfig
    from grpo.sampler import FlowSampler


class Flow(Policy, ABC):
    """A policy whose transformer predicts the velocity, noise - x0."""

    parts = ("transformer",)
    rules = FLOW_RULES
    # Joint attention to pixels and text: yifan123/flow_grpo scripts/train_sd3.py.
    targets: ClassVar[tuple[str, ...]] = (
        "attn.to_q",
        "attn.to_k",
        "attn.to_v",
        "attn.to_out.0",
        "attn.add_q_proj",
        "attn.add_k_proj",
        "attn.add_v_proj",
        "attn.to_add_out",
    )
    #: Whether the pipeline gives its scheduler evenly spaced sigmas; see `FlowSampler`.
    even: ClassVar[bool] = True

    def _mu(self, steps: int) -> float | None:
        """The mu that the pipeline gives its scheduler; None where it gives none.

        Args:
            steps: number of inference steps.
        """
        return None

    def _schedule(self, config: SamplerConfig) -> FlowSampler:
        from grpo.sampler import FlowSampler

        return FlowSampler.from_scheduler(
            self._pipe.scheduler, config, self.device, mu=self._mu(config.steps), even=self.even
        )
