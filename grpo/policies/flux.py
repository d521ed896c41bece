"""FLUX.1: a rectified-flow transformer over packed latents, one CLIP and T5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor

from grpo.guidance import classifier_free
from grpo.policies.condition import Condition
from grpo.policies.policy import Policy
from grpo.sampler import FlowSampler
from grpo.schedules import linear_shift

if TYPE_CHECKING:
    from grpo.config.fields import SamplerConfig


@final
class Flux(Policy):
    """The policy of `FluxPipeline`: FLUX.1-dev, whose guidance is an input, and FLUX.1-schnell.

    Latents are packed: [B, L, 4 C], of L squares of 2 x 2. Classifier-free guidance is the
    pipeline's `true_cfg_scale`, off unless a run asks for it.
    """

    pipeline_classes = ("FluxPipeline",)
    parts = ("transformer",)
    rules = ("dance", "flow", "cps", "ode")
    # Attention of pixels and text, and in the single blocks of both together.
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
        "pooled_projections": "pooled_prompt_embeds",
    }

    @property
    def scale(self) -> float:
        """The scale of classifier-free guidance, which is not the network's input."""
        return self.protocol.true_guidance or 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the noise that is drawn for a sample, before it is packed."""
        channels, height, width = super().shape
        return channels // 4, height, width

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """What sampling starts from, packed."""
        drawn = super().noise(generators)
        packed: Tensor = self._pipe._pack_latents(drawn, *drawn.shape)
        return packed

    def predict(self, x: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """The velocity, [B, L, 4 C]."""
        without, given = self._halves(x, timesteps, condition)
        return classifier_free(without, given, self.scale, detach_uncond=self.detach_uncond)

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        if self._pipe.transformer.config.guidance_embeds:
            guidance = x.new_full((len(x),), self.protocol.guidance or 0.0)
            inputs = {**inputs, "guidance": guidance}
        return super()._output(x, timesteps / 1000, inputs)

    def _schedule(self, config: SamplerConfig) -> FlowSampler:
        _, height, width = self.shape
        return FlowSampler.from_scheduler(
            self._pipe.scheduler,
            config,
            self.device,
            mu=linear_shift(height // 2 * (width // 2)),
            even=True,
        )

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, pooled, _ = self._pipe.encode_prompt(
            prompt,
            prompt_2=None,
            device=self.device,
            max_sequence_length=self.protocol.max_sequence_length,
        )
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def _shared(self) -> dict[str, Tensor]:
        _, height, width = self.shape
        places = self._pipe._prepare_latent_image_ids(
            1, height // 2, width // 2, self.device, torch.float32
        )
        return {
            "img_ids": places,
            "txt_ids": places.new_zeros(self.protocol.max_sequence_length or 0, 3),
        }
