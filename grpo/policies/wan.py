"""Wan: a rectified flow of clips with classifier-free guidance, UMT5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from grpo.policies.video import Video
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from rewardkit.generators.pipelines import Pipeline


@final
class Wan(Video):
    """The policy of `WanPipeline` with one network: Wan 2.1, and the 5B of Wan 2.2.

    Raises:
        UsageError: the pipeline has a network for much noise and one for little (Wan 2.2 A14B).
    """

    pipeline_classes = ("WanPipeline",)
    # All attention, of pixels among themselves (attn1) and to text (attn2).
    targets = tuple(
        f"{attention}.{layer}"
        for attention in ("attn1", "attn2")
        for layer in ("to_q", "to_k", "to_v", "to_out.0")
    )
    even = False
    embeddings: ClassVar = {"encoder_hidden_states": "prompt_embeds"}

    def _check(self, pipeline: Pipeline) -> None:
        pipe: Any = pipeline.diffusers
        if pipe.transformer is None or pipe.transformer_2 is not None:
            raise UsageError(
                f"{pipeline.source} has one network for much noise and another for little, and "
                "one network is trained here. Train Wan 2.1, or the 5B of Wan 2.2"
            )

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        if self._pipe.config.expand_timesteps:  # a timestep for each token, 2 x 2 latents
            frames, height, width = x.shape[2:]
            timesteps = timesteps[:, None].expand(-1, frames * (height // 2) * (width // 2))
        return super()._output(x, timesteps, inputs)

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, _ = self._pipe.encode_prompt(
            prompt,
            do_classifier_free_guidance=False,
            max_sequence_length=self.protocol.max_sequence_length,
            device=self.device,
        )
        return {"encoder_hidden_states": states}
