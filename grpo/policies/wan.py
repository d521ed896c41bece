"""Wan: a rectified flow of clips with classifier-free guidance, UMT5."""

from __future__ import annotations

import warnings
from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, final

from grpo.policies.video import Video
from rewardkit.devices import sent
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from grpo.policies.condition import Condition
    from rewardkit.generators.pipelines import Pipeline
    from rewardkit.media.prompts import PromptLine


_SUPPORTED = (
    "Wan models that can be trained: text-to-video of Wan 2.1 (wan2.1-1.3b, wan2.1-14b) and of the "
    "5B of Wan 2.2 (wan2.2-5b), image-to-video of Wan 2.1"
)
_UNFUSED = "Mismatch dtype between input and weight"


def _ignore_unfused_norms() -> None:
    """Silences torch's remark that a norm of bfloat16 values with float32 weights is not fused.

    Weights that are trained are in float32 and values in the run's dtype, so it is as intended.
    Not `warnings.catch_warnings`: leaving that restores the filters of the whole process.
    """
    if not any(getattr(entry[1], "pattern", None) == _UNFUSED for entry in warnings.filters):
        warnings.filterwarnings("ignore", _UNFUSED, UserWarning)


class Wan(Video, ABC):
    """A policy of Wan's transformer.

    Raises:
        UsageError: the pipeline has a network for much noise and one for little (Wan 2.2 A14B).
    """

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
                f"one network is trained here. {_SUPPORTED}"
            )

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        _ignore_unfused_norms()
        return super()._output(x, timesteps, inputs)

    def _embed(self, prompt: str) -> dict[str, Tensor]:
        states, _ = self._pipe.encode_prompt(
            prompt,
            do_classifier_free_guidance=False,
            max_sequence_length=self.protocol.max_sequence_length,
            device=self.device,
        )
        return {"encoder_hidden_states": states}


@final
class WanTextToVideo(Wan):
    """The policy of `WanPipeline` with one network: Wan 2.1, and the 5B of Wan 2.2."""

    pipeline_classes = ("WanPipeline",)

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        if self._pipe.config.expand_timesteps:  # a timestep for each token, 2 x 2 latents
            frames, height, width = x.shape[2:]
            timesteps = timesteps[:, None].expand(-1, frames * (height // 2) * (width // 2))
        return super()._output(x, timesteps, inputs)


@final
class WanImageToVideo(Wan):
    """The policy of `WanImageToVideoPipeline` of Wan 2.1.

    The network is given latents and a mask of the first frame beside the noisy latents, and what
    CLIP makes of it. Nothing of them is random.

    Raises:
        UsageError: the pipeline is one of Wan 2.2.
    """

    pipeline_classes = ("WanImageToVideoPipeline",)
    targets = (*Wan.targets, "attn2.add_k_proj", "attn2.add_v_proj")  # the attention to CLIP's

    def encode(
        self, lines: Sequence[PromptLine], generators: Sequence[torch.Generator] | None = None
    ) -> Condition:
        """See `Policy.encode`; with the first frames, the same in both halves."""
        import torch

        condition = super().encode(lines)
        with self.offloaded():
            frames = [self._first_frame(line) for line in lines]
        given = {name: torch.cat([f[name] for f in frames])[None] for name in frames[0]}
        return replace(condition, per_sample={**condition.per_sample, **given})

    def _first_frame(self, line: PromptLine) -> dict[str, Tensor]:
        """What the network is given of a line's first frame, [1, ...]."""
        import torch

        pipe, protocol = self._pipe, self.protocol
        picture, size = self._picture(line), (protocol.height, protocol.width)
        pixels = sent(pipe.video_processor.preprocess(picture, *size), self.device)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            _, latents = pipe.prepare_latents(
                pixels,
                1,
                self.shape[0],
                *size,
                protocol.frames,
                pixels.dtype,
                self.device,
                latents=pixels.new_zeros(1, *self.shape),  # noise, which it would draw
            )
            given = {"first_frame": latents}
            if pipe.transformer.config.image_dim is not None:
                states = pipe.encode_image(picture, self.device)
                given["encoder_hidden_states_image"] = states.float()
        return given

    def _check(self, pipeline: Pipeline) -> None:
        super()._check(pipeline)
        pipe: Any = pipeline.diffusers
        if pipe.config.expand_timesteps:
            raise UsageError(
                f"{pipeline.source} is an image-to-video pipeline of Wan 2.2, which has a timestep "
                f"for each token. {_SUPPORTED}"
            )

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        import torch

        others = {name: tensor for name, tensor in inputs.items() if name != "first_frame"}
        return super()._output(torch.cat([x, inputs["first_frame"]], 1), timesteps, others)
