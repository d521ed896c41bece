"""FLUX.1: a rectified-flow transformer over packed latents, one CLIP and T5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from grpo.policies.packed import Packed

if TYPE_CHECKING:
    from torch import Tensor


@final
class Flux(Packed):
    """The policy of `FluxPipeline`: FLUX.1-dev, whose guidance is an input, and FLUX.1-schnell.

    Classifier-free guidance is off unless a run asks for it.
    """

    pipeline_classes = ("FluxPipeline",)
    embeddings: ClassVar = {
        "encoder_hidden_states": "prompt_embeds",
        "pooled_projections": "pooled_prompt_embeds",
    }

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        if self._pipe.transformer.config.guidance_embeds:
            guidance = x.new_full((len(x),), self.protocol.guidance or 0.0)
            inputs = {**inputs, "guidance": guidance}
        return super()._output(x, timesteps, inputs)

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, pooled, _ = self._pipe.encode_prompt(
            prompt,
            prompt_2=None,
            device=self.device,
            max_sequence_length=self.protocol.max_sequence_length,
        )
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def _shared(self) -> dict[str, Tensor]:
        import torch

        places = self._pipe._prepare_latent_image_ids(1, *self.squares, self.device, torch.float32)
        return {
            "img_ids": places,
            "txt_ids": places.new_zeros(self.protocol.max_sequence_length or 0, 3),
        }
