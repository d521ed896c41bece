"""Stable Diffusion 1 and 2: a UNet that predicts eps or v, one CLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

from grpo.guidance import classifier_free
from grpo.policies.policy import Policy
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from grpo.config.fields import Config, SamplerConfig
    from grpo.policies.condition import Condition
    from grpo.sampler import DiffusionSampler
    from rewardkit.generators.pipelines import Pipeline


@final
class StableDiffusion(Policy):
    """The policy of `StableDiffusionPipeline`.

    Raises:
        UsageError: the UNet is given its guidance (a latent consistency model).
    """

    pipeline_classes = ("StableDiffusionPipeline",)
    parts = ("unet",)
    rules = ("ddim",)
    # All attention, of pixels among themselves and to text: kvablack/ddpo-pytorch scripts/train.py.
    targets = ("to_q", "to_k", "to_v", "to_out.0")
    has_text_length = False
    embeddings: ClassVar = {"encoder_hidden_states": "prompt_embeds"}

    def __init__(
        self, pipeline: Pipeline, config: Config, device: torch.device | None = None
    ) -> None:
        refuse_distilled(pipeline)
        super().__init__(pipeline, config, device)

    def predict(self, x: Tensor, timesteps: Tensor, condition: Condition) -> Tensor:
        """Eps or v, with classifier-free guidance."""
        halves = self._halves(x, timesteps, condition)
        return classifier_free(*halves, self.scale, detach_uncond=self.detach_uncond)

    def _schedule(self, config: SamplerConfig) -> DiffusionSampler:
        from grpo.sampler import DiffusionSampler

        return DiffusionSampler.from_scheduler(self._pipe.scheduler, config, self.device)

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, _ = self._pipe.encode_prompt(
            prompt, self.device, 1, do_classifier_free_guidance=False
        )
        return {"encoder_hidden_states": states}


def refuse_distilled(pipeline: Pipeline) -> None:
    """Refuses a latent consistency model.

    Raises:
        UsageError: it is one.
    """
    pipe: Any = pipeline.diffusers
    if pipe.unet.config.time_cond_proj_dim is not None:
        raise UsageError(
            f"{pipeline.source} is a latent consistency model: few steps, each of its own "
            "kind, instead of DDIM's. Train the model it was distilled from"
        )
