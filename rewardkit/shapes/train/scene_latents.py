"""Training data of the generators: scenes encoded once, with their prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from rewardkit.shapes.train.autoencoder import to_network
from rewardkit.shapes.train.loop import draw
from rewardkit.shapes.world import render

SCENES = 3 * 2**14
# Tasks that are hard to learn are sampled more often.
SHARES = {
    "single_object": 0.06,
    "two_object": 0.2,
    "counting": 0.16,
    "colors": 0.1,
    "position": 0.24,
    "color_attr": 0.24,
}
# Share of samples without a prompt, for classifier-free guidance.
_UNPROMPTED = 0.1


class SceneLatents:
    """Latents of scenes and their prompts.

    Attributes:
        vae: the autoencoder, in float32.
        latents: float32 `[SCENES, 4, 8, 8]`, mean 0 and variance 1.
        shift: offset subtracted from the latents, after scaling.
        prompts: the prompt of each scene.
    """

    def __init__(self, vae: Path, seed: int) -> None:
        self.vae: Any = AutoencoderKL.from_pretrained(vae).float().eval().requires_grad_(False)
        self.vae.register_to_config(_name_or_path=vae.name)  # not its path on this machine
        rng = np.random.default_rng([seed, 2**31])
        self.prompts, scenes = draw(SCENES, SHARES, rng)
        encoded = []
        with torch.no_grad():
            for start in range(0, SCENES, 512):
                pixels = to_network(render(scenes[start : start + 512]))
                encoded.append(self.vae.encode(pixels).latent_dist.mode())
        config = self.vae.config
        self.shift = config.shift_factor * config.scaling_factor
        self.latents = (torch.cat(encoded) - config.shift_factor) * config.scaling_factor

    def draw(self, number: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
        """Latents of `number` scenes and their prompts, some of them empty."""
        chosen = rng.integers(SCENES, size=number)
        empty = rng.random(number) < _UNPROMPTED
        prompts = ["" if no else self.prompts[i] for i, no in zip(chosen, empty, strict=True)]
        return self.latents[torch.from_numpy(chosen)], prompts
