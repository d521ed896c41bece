"""FLUX.2 klein: a rectified flow on tokens that its VAE's statistics standardise, Qwen3."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

from grpo.policies.flow import Flow

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rewardkit.media.batch import Medium


@final
class Flux2Klein(Flow):
    """The policy of `Flux2KleinPipeline`, from text alone: base models and distilled ones.

    Samples are tokens, [B, L, 4 C], each a square of 2 x 2 latents. A distilled model has no
    guidance.
    """

    pipeline_classes = ("Flux2KleinPipeline",)
    # In single blocks, one layer makes queries, keys, values and what the feed-forward takes.
    targets = (*Flow.targets, "attn.to_qkv_mlp_proj")
    embeddings: ClassVar = {"encoder_hidden_states": "prompt_embeds"}

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the noise that is drawn for a sample, before it is packed."""
        channels, height, width = super().shape
        return channels, height // 2, width // 2

    def noise(self, generators: Sequence[torch.Generator]) -> Tensor:
        """What sampling starts from, packed."""
        packed: Tensor = self._pipe._pack_latents(super().noise(generators))
        return packed

    def decode(self, x0: Tensor) -> list[Medium]:
        """See `Policy.decode`; first come the statistics, as in the pipeline's call.

        Source: diffusers src/diffusers/pipelines/flux2/pipeline_flux2_klein.py: __call__.
        """
        vae = self._pipe.vae
        mean, variance = (v.view(1, -1, 1, 1) for v in (vae.bn.running_mean, vae.bn.running_var))
        squares = x0.float().mT.unflatten(2, self.shape[1:])
        squares = squares * (variance + vae.config.batch_norm_eps).sqrt() + mean
        return super().decode(self._pipe._unpatchify_latents(squares))

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        return super()._output(x, timesteps / 1000, inputs)

    def _mu(self, steps: int) -> float:
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

        _, down, across = self.shape
        return float(compute_empirical_mu(down * across, steps))

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, _ = self._pipe.encode_prompt(
            prompt, self.device, max_sequence_length=self.protocol.max_sequence_length
        )
        return {"encoder_hidden_states": states}

    def _shared(self) -> dict[str, Tensor]:
        import torch

        length = self.protocol.max_sequence_length or 0
        return {
            "img_ids": self._pipe._prepare_latent_ids(torch.empty(1, *self.shape))[0],
            "txt_ids": self._pipe._prepare_text_ids(torch.empty(1, length, 0))[0],
        }
