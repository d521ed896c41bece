"""Qwen-Image: a rectified-flow transformer, true guidance, text of any length from Qwen2.5-VL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from grpo.guidance import rescaled
from grpo.policies.packed import Packed

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.policies.condition import Condition


@final
class QwenImage(Packed):
    """The policy of `QwenImagePipeline`."""

    pipeline_classes = ("QwenImagePipeline",)
    embeddings: ClassVar = {
        "encoder_hidden_states": "prompt_embeds",
        "encoder_hidden_states_mask": "prompt_embeds_mask",
    }

    def predict(self, x: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """The velocity, with guidance that keeps each token's norm."""
        halves = self._halves(x, timesteps, condition)
        return rescaled(*halves, self.scale, detach_uncond=self.detach_uncond)

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        positions: dict[str, Any] = {"img_shapes": [[(1, *self.squares)]] * len(x)}
        return super()._output(x, timesteps, {**inputs, **positions})

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        import torch

        states, _ = self._pipe.encode_prompt(
            prompt, self.device, max_sequence_length=self.protocol.max_sequence_length
        )
        # All tokens of a single prompt count; in a batch, padding does not.
        mask = torch.ones(states.shape[:2], dtype=torch.long, device=states.device)
        return {"encoder_hidden_states": states, "encoder_hidden_states_mask": mask}
