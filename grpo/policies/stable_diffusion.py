"""Stable Diffusion 1 and 2: a UNet that predicts eps or v, one CLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from grpo.policies.unet import UNet

if TYPE_CHECKING:
    from torch import Tensor


@final
class StableDiffusion(UNet):
    """The policy of `StableDiffusionPipeline`."""

    pipeline_classes = ("StableDiffusionPipeline",)
    embeddings: ClassVar = {"encoder_hidden_states": "prompt_embeds"}

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, _ = self._pipe.encode_prompt(
            prompt, self.device, 1, do_classifier_free_guidance=False
        )
        return {"encoder_hidden_states": states}
