"""HunyuanVideo: a rectified flow of clips, guidance as an input, a Llama and CLIP."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from grpo.policies.video import Video

if TYPE_CHECKING:
    from torch import Tensor


class Hunyuan(Video, ABC):
    """A policy of HunyuanVideo's transformer.

    Its pipeline's `guidance_scale` is an input; classifier-free guidance is `true_cfg_scale`. A
    LoRA is put on its blocks, and on the refiner of the text before them.
    """

    embeddings: ClassVar = {
        "encoder_hidden_states": "prompt_embeds",
        "encoder_attention_mask": "prompt_attention_mask",
        "pooled_projections": "pooled_prompt_embeds",
    }

    @property
    def scale(self) -> float:
        """The scale of classifier-free guidance, which is not the network's input."""
        return self.protocol.true_guidance or 1.0

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        mask = inputs["encoder_attention_mask"].to(x.dtype)
        guidance = x.new_full((len(x),), 1000 * (self.protocol.guidance or 0.0))
        inputs = {**inputs, "encoder_attention_mask": mask, "guidance": guidance}
        return super()._output(x, timesteps, inputs)

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, pooled, mask = self._pipe.encode_prompt(
            prompt,
            device=self.device,
            max_sequence_length=self.protocol.max_sequence_length,
        )
        return {
            "encoder_hidden_states": states,
            "encoder_attention_mask": mask,
            "pooled_projections": pooled,
        }


@final
class HunyuanVideo(Hunyuan):
    """The policy of `HunyuanVideoPipeline`, from text alone."""

    pipeline_classes = ("HunyuanVideoPipeline",)
