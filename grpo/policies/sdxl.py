"""Stable Diffusion XL: a UNet that is given the size of its pictures, two CLIPs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from grpo.guidance import classifier_free
from grpo.policies.policy import Policy
from grpo.policies.stable_diffusion import refuse_distilled

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from grpo.config.fields import Config, SamplerConfig
    from grpo.policies.condition import Condition
    from grpo.sampler import DiffusionSampler
    from rewardkit.generators.pipelines import Pipeline


@final
class StableDiffusionXL(Policy):
    """The policy of `StableDiffusionXLPipeline`.

    Raises:
        UsageError: the UNet is given its guidance (a latent consistency model).
    """

    pipeline_classes = ("StableDiffusionXLPipeline",)
    parts = ("unet",)
    rules = ("ddim",)
    # All attention, of pixels among themselves and to text.
    targets = ("to_q", "to_k", "to_v", "to_out.0")
    has_text_length = False
    embeddings: ClassVar = {
        "encoder_hidden_states": "prompt_embeds",
        "text_embeds": "pooled_prompt_embeds",
    }

    def __init__(
        self, pipeline: Pipeline, config: Config, device: torch.device | None = None
    ) -> None:
        refuse_distilled(pipeline)
        super().__init__(pipeline, config, device)

    def predict(self, x: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """Eps or v, with classifier-free guidance."""
        halves = self._halves(x, timesteps, condition)
        return classifier_free(*halves, self.scale, detach_uncond=self.detach_uncond)

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

    def _schedule(self, config: SamplerConfig) -> DiffusionSampler:
        from grpo.sampler import DiffusionSampler

        return DiffusionSampler.from_scheduler(self._pipe.scheduler, config, self.device)

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
