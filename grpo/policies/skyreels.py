"""SkyReels V1: HunyuanVideo from a first frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, final

from grpo.policies.hunyuan_video import Hunyuan
from rewardkit.devices import sent

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from grpo.policies.condition import Condition
    from rewardkit.media.prompts import PromptLine

_FIRST_FRAME = "first_frame"


@final
class SkyReels(Hunyuan):
    """The policy of `HunyuanSkyreelsImageToVideoPipeline`.

    The network is given the latents of the first frame beside the noisy ones. The VAE draws them at
    random: once for all samples of a prompt.
    """

    pipeline_classes = ("HunyuanSkyreelsImageToVideoPipeline",)

    def encode(
        self, lines: Sequence[PromptLine], generators: Sequence[torch.Generator] | None = None
    ) -> Condition:
        """See `Policy.encode`; with the latents of first frames, [1, B, C, F, h, w]."""
        import torch

        condition = super().encode(lines)
        sources: Sequence[torch.Generator | None] = generators or [None] * len(lines)
        with self.offloaded():
            drawn = torch.cat([self._first_frame(*p) for p in zip(lines, sources, strict=True)])
        latents = drawn.new_zeros(len(lines), *self.shape)
        latents[:, :, :1] = drawn
        given = {**condition.per_sample, _FIRST_FRAME: latents[None]}
        return replace(condition, per_sample=given)

    def _first_frame(self, line: PromptLine, generator: torch.Generator | None) -> Tensor:
        """The latents of a line's first frame, [1, C, 1, h, w]."""
        import torch

        pipe, size = self._pipe, (self.protocol.height, self.protocol.width)
        pixels = pipe.video_processor.preprocess(self._picture(line), *size).unsqueeze(2)
        pixels = sent(pixels, self.device)
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            posterior = pipe.vae.encode(pixels).latent_dist
            drawn = posterior.mode() if generator is None else posterior.sample(generator)
        latents: Tensor = drawn * pipe.vae.config.scaling_factor
        return latents

    def _output(self, x: Tensor, timesteps: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        import torch

        texts = {name: tensor for name, tensor in inputs.items() if name != _FIRST_FRAME}
        return super()._output(torch.cat([x, inputs[_FIRST_FRAME]], 1), timesteps, texts)
