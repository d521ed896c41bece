"""Z-Image: a rectified-flow transformer of one stream, text of any length from Qwen3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, final

from grpo.policies.flow import Flow

if TYPE_CHECKING:
    from torch import Tensor

    from grpo.policies.condition import Condition


@final
class ZImage(Flow):
    """The policy of `ZImagePipeline`, whose time and velocity run from the noise to the sample."""

    pipeline_classes = ("ZImagePipeline",)
    # All attention, of the pixels with the text and of each alone before.
    targets = ("attention.to_q", "attention.to_k", "attention.to_v", "attention.to_out.0")
    embeddings: ClassVar = {"cap_feats": "prompt_embeds"}

    @property
    def scale(self) -> float:
        """One more than the pipeline's `guidance_scale`, which is off at 0."""
        return 1.0 + (self.protocol.guidance or 0.0)

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        import torch

        frames = list(x.unsqueeze(2))  # clips of one frame, one by one
        (module,) = self.modules.values()
        outputs = module(frames, 1 - timesteps / 1000, _texts(**inputs), return_dict=False)[0]
        return -torch.stack(outputs).squeeze(2)

    def _mu(self, steps: int) -> float:
        from grpo.schedules import linear_shift

        _, height, width = self.shape
        return linear_shift(self._pipe.scheduler.config, height * width // 4)

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        import torch

        (states,), _ = self._pipe.encode_prompt(
            prompt,
            self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.protocol.max_sequence_length,
        )
        return {"cap_feats": states[None], "mask": torch.ones(1, len(states), dtype=torch.bool)}

    def call_arguments(self, condition: Condition) -> dict[str, Any]:
        """The texts as lists, each of its own length."""
        texts = condition.per_sample
        halves = [*map(_texts, texts["cap_feats"], texts["mask"])]  # with the prompt is the last
        names = ("prompt_embeds", "negative_prompt_embeds")
        return dict(zip(names, reversed(halves), strict=False))


def _texts(cap_feats: Tensor, mask: Tensor) -> list[Tensor]:
    """Texts [L, D] of their own lengths, from padded ones, [B, L, D]."""
    lengths = mask.sum(1).tolist()
    return [text[:length] for text, length in zip(cap_feats, lengths, strict=True)]
