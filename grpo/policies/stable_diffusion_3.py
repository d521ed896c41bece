"""Stable Diffusion 3 and 3.5: a rectified-flow transformer, two CLIPs and T5."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from grpo.policies.flow import Flow

if TYPE_CHECKING:
    from torch import Tensor


@final
class StableDiffusion3(Flow):
    """The policy of `StableDiffusion3Pipeline`."""

    pipeline_classes = ("StableDiffusion3Pipeline",)
    even = False
    embeddings: ClassVar = {
        "encoder_hidden_states": "prompt_embeds",
        "pooled_projections": "pooled_prompt_embeds",
    }

    def _mu(self, steps: int) -> float:
        from grpo.schedules import linear_shift

        _, height, width = self.shape
        tokens = (height // self._pipe.patch_size) * (width // self._pipe.patch_size)
        return linear_shift(self._pipe.scheduler.config, tokens)

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
