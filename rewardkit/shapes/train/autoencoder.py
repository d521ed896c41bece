"""The autoencoder of both generators, from 32x32 pixels to 4 channels of 8x8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn
from torch.nn import functional as F

from rewardkit.shapes.detect import detect
from rewardkit.shapes.judge import correct
from rewardkit.shapes.prompts import TASKS, balanced, parse, scene
from rewardkit.shapes.train.loop import Schedule, Training, draw
from rewardkit.shapes.world import render

_ALIKE = dict.fromkeys(TASKS, 1.0)


class Autoencoder(Training):
    """Reconstruction (absolute and squared error) with a small KL weight on the posterior."""

    name = "shapes-vae"
    schedule = Schedule(steps=1600, batch=32, lr=2e-3, ema=0.99, evaluate_every=400)
    data = "rendered scenes of training prompts, tasks in equal shares"

    def __init__(self) -> None:
        vae: Any = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(16, 32, 48),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=8,
            sample_size=32,
            mid_block_add_attention=False,
        )
        self.vae = vae
        self.modules = nn.ModuleDict({"vae": vae})

    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        """Means per pixel and per latent."""
        pixels = self._pixels(rng)
        posterior = self.vae.encode(pixels).latent_dist
        decoded = self.vae.decode(posterior.sample(noise)).sample
        return (
            F.l1_loss(decoded, pixels)
            + F.mse_loss(decoded, pixels)
            + 1e-4 * posterior.kl().mean() / posterior.mean[0].numel()
        )

    def _pixels(self, rng: np.random.Generator) -> torch.Tensor:
        """A batch as the network takes it."""
        _, scenes = draw(self.schedule.batch, _ALIKE, rng)
        return to_network(render(scenes))

    def evaluate(self, modules: nn.ModuleDict, samples: int) -> dict[str, float]:
        """Share of held-out scenes that are still correct after encoding and decoding."""
        rng = np.random.default_rng(0)
        parsed = [parse(prompt) for prompt in balanced("held-out", samples // len(TASKS))]
        pixels = to_network(render([scene(request, rng) for request in parsed]))
        vae: Any = modules["vae"]
        with torch.no_grad():
            decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
        found = detect(to_pictures(decoded))
        right = np.mean([correct(*pair) for pair in zip(parsed, found, strict=True)])
        return {"reconstructed": float(right), "pixel error": float(F.l1_loss(decoded, pixels))}

    def save(self, modules: nn.ModuleDict, folder: Path) -> None:
        """Save it with the scale and shift that give its latents mean 0 and variance 1."""
        vae: Any = modules["vae"]
        _, scenes = draw(2048, _ALIKE, np.random.default_rng(0))
        with torch.no_grad():
            latents = vae.encode(to_network(render(scenes))).latent_dist.mode()
        vae.register_to_config(
            scaling_factor=round(1 / float(latents.std()), 4),
            shift_factor=round(float(latents.mean()), 4),
        )
        vae.half().save_pretrained(folder)


def to_network(pictures: np.ndarray) -> torch.Tensor:
    """uint8 `[N, 3, 32, 32]` as float32 in [-1, 1]."""
    return torch.from_numpy(pictures).float() / 127.5 - 1


def to_pictures(decoded: torch.Tensor) -> np.ndarray:
    """The inverse of `to_network`, rounded and clamped as when saving."""
    return ((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
