"""Stable Diffusion XL: a UNet that is given the size of its pictures, two CLIPs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from grpo.policies.unet import UNet

if TYPE_CHECKING:
    from torch import Tensor


@final
class StableDiffusionXL(UNet):
    """The policy of `StableDiffusionXLPipeline`."""

    pipeline_classes = ("StableDiffusionXLPipeline",)
    embeddings: ClassVar = {
        "encoder_hidden_states": "prompt_embeds",
        "text_embeds": "pooled_prompt_embeds",
    }

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        size = inputs["time_ids"].expand(len(x), -1)
        output: Tensor = self.modules["unet"](
            x,
            timesteps,
            encoder_hidden_states=inputs["encoder_hidden_states"],
            added_cond_kwargs={"text_embeds": inputs["text_embeds"], "time_ids": size},
            return_dict=False,
        )[0]
        return output

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, _, pooled, _ = self._pipe.encode_prompt(
            prompt, device=self.device, do_classifier_free_guidance=False
        )
        return {"encoder_hidden_states": states, "text_embeds": pooled}

    def _negative(self) -> dict[str, Tensor]:
        import torch

        embedded = super()._negative()
        # The pipeline does so unless it is given a negative prompt, even an empty one.
        if self.protocol.negative_prompt is None and self._pipe.config.force_zeros_for_empty_prompt:
            return {name: torch.zeros_like(tensor) for name, tensor in embedded.items()}
        return embedded

    def _shared(self) -> dict[str, Tensor]:
        import torch

        # The size before cropping, the corner that was cut off, and the size after it.
        height, width = self.protocol.height, self.protocol.width
        return {"time_ids": torch.tensor([height, width, 0.0, 0.0, height, width])}
