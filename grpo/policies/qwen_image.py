"""Qwen-Image: a rectified-flow transformer, true guidance, text of any length from Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from grpo.guidance import rescaled
from grpo.policies.condition import Condition
from grpo.policies.policy import Policy
from grpo.sampler import FlowSampler
from grpo.schedules import linear_shift

if TYPE_CHECKING:
    from grpo.config.fields import SamplerConfig


@final
class QwenImage(Policy):
    """The policy of `QwenImagePipeline`, whose samples are tokens, [B, h w / 4, 4 C]."""

    pipeline_classes = ("QwenImagePipeline",)
    parts = ("transformer",)
    rules = ("dance", "flow", "cps", "ode")
    # The joint attention of pixels and text, as for Stable Diffusion 3.
    targets = (
        "attn.to_q",
        "attn.to_k",
        "attn.to_v",
        "attn.to_out.0",
        "attn.add_q_proj",
        "attn.add_k_proj",
        "attn.add_v_proj",
        "attn.to_add_out",
    )
    embeddings: ClassVar = {
        "encoder_hidden_states": "prompt_embeds",
        "encoder_hidden_states_mask": "prompt_embeds_mask",
    }

    @property
    def scale(self) -> float:
        """The scale of true guidance; up to 1 there is none."""
        return self.protocol.true_guidance or 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """C, h, w, before they are packed 2 x 2."""
        channels, height, width = super().shape
        return channels // 4, height, width

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Packed, as all samples are."""
        packed: Tensor = self._pipe._pack_latents(
            super().noise(generators), len(generators), *self.shape
        )
        return packed

    def predict(self, x: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """The velocity, with guidance that keeps each token's norm."""
        without, given = self._halves(x, timesteps, condition)
        return rescaled(without, given, self.scale, detach_uncond=self.detach_uncond)

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        _, height, width = self.shape
        positions: dict[str, Any] = {"img_shapes": [[(1, height // 2, width // 2)]] * len(x)}
        return super()._output(x, timesteps / 1000, {**inputs, **positions})

    def _schedule(self, config: SamplerConfig) -> FlowSampler:
        _, height, width = self.shape
        mu = linear_shift(height * width // 4)
        return FlowSampler.from_scheduler(
            self._pipe.scheduler, config, self.device, mu=mu, even=True
        )

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, _ = self._pipe.encode_prompt(
            prompt, self.device, max_sequence_length=self.protocol.max_sequence_length
        )
        # Of one prompt, all tokens count; in a batch, what is padded does not.
        mask = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        return {"encoder_hidden_states": states, "encoder_hidden_states_mask": mask}
