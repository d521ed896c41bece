"""Stable Diffusion 3 and 3.5: a rectified-flow transformer, two CLIPs and T5."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from grpo.guidance import classifier_free
from grpo.policies.attention import JOINT_ATTENTION
from grpo.policies.policy import Policy

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.config.fields import SamplerConfig
    from grpo.policies.condition import Condition
    from grpo.sampler import FlowSampler


@final
class StableDiffusion3(Policy):
    """The policy of `StableDiffusion3Pipeline`."""

    pipeline_classes = ("StableDiffusion3Pipeline",)
    parts = ("transformer",)
    rules = ("dance", "flow", "cps", "ode")
    targets = JOINT_ATTENTION
    embeddings: ClassVar = {
        "encoder_hidden_states": "prompt_embeds",
        "pooled_projections": "pooled_prompt_embeds",
    }

    def predict(self, x: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """The velocity, with classifier-free guidance."""
        halves = self._halves(x, timesteps, condition)
        return classifier_free(*halves, self.scale, detach_uncond=self.detach_uncond)

    def _schedule(self, config: SamplerConfig) -> FlowSampler:
        from grpo.sampler import FlowSampler
        from grpo.schedules import linear_shift

        _, height, width = self.shape
        tokens = (height // self._pipe.patch_size) * (width // self._pipe.patch_size)
        return FlowSampler.from_scheduler(
            self._pipe.scheduler, config, self.device, mu=linear_shift(tokens)
        )

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, _, pooled, _ = self._pipe.encode_prompt(
            prompt,
            prompt_2=None,
            prompt_3=None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.protocol.max_sequence_length,
        )
        return {"encoder_hidden_states": states, "pooled_projections": pooled}
