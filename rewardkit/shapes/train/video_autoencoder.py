"""The autoencoder of both video generators, from 9 frames of 32x32 to 8 channels of 3x8x8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLHunyuanVideo
from torch import nn
from torch.nn import functional as F

from rewardkit.shapes.detect import detect
from rewardkit.shapes.motion import FRAMES, TASKS, balanced, motion, parse, prompts, render
from rewardkit.shapes.train.autoencoder import Autoencoder, to_network, to_pictures
from rewardkit.shapes.train.loop import Schedule

# Two shapes are harder than one.
SHARES = {"moving": 0.15, "color_moving": 0.35, "two_moving": 0.5}


class VideoAutoencoder(Autoencoder):
    """The same on clips."""

    name = "shapes-video-vae"
    schedule = Schedule(steps=1600, batch=16, lr=2e-3, ema=0.99, evaluate_every=400)
    data = "rendered clips of training prompts"

    def __init__(self) -> None:
        vae: Any = AutoencoderKLHunyuanVideo(
            down_block_types=("HunyuanVideoDownBlock3D",) * 3,
            up_block_types=("HunyuanVideoUpBlock3D",) * 3,
            block_out_channels=(8, 16, 32),
            layers_per_block=1,
            latent_channels=8,
            norm_num_groups=8,
            spatial_compression_ratio=4,
            temporal_compression_ratio=4,
            mid_block_add_attention=False,
        )
        self.vae = vae
        self.modules = nn.ModuleDict({"vae": vae})

    def _pixels(self, rng: np.random.Generator) -> torch.Tensor:
        """A batch as the network takes it."""
        return to_video(np.stack(draw(self.schedule.batch, rng)[1]))

    def evaluate(self, modules: nn.ModuleDict, samples: int) -> dict[str, float]:
        """Share of held-out clips that are still right after encoding and decoding."""
        rng = np.random.default_rng(0)
        parsed = [parse(prompt) for prompt in balanced("held-out", samples // len(TASKS))]
        vae: Any = modules["vae"]
        right, error = [], []
        for request in parsed:
            pixels = to_video(render(request, rng)[None])
            with torch.no_grad():
                decoded = vae.decode(vae.encode(pixels).latent_dist.mode()).sample
            right.append(motion(request, detect(to_frames(decoded)[0])) == 1.0)
            error.append(float(F.l1_loss(decoded, pixels)))
        return {"reconstructed": float(np.mean(right)), "pixel error": float(np.mean(error))}

    def save(self, modules: nn.ModuleDict, folder: Path) -> None:
        """Save it with the scale that gives its latents variance 1."""
        vae: Any = modules["vae"]
        clips = draw(512, np.random.default_rng(0))[1]
        with torch.no_grad():
            latents = vae.encode(to_video(np.stack(clips))).latent_dist.mode()
        vae.register_to_config(scaling_factor=round(1 / float(latents.std()), 4))
        vae.half().save_pretrained(folder)


def draw(number: int, rng: np.random.Generator) -> tuple[list[str], list[np.ndarray]]:
    """Random training prompts, with tasks sampled by weight, and a clip of each."""
    tasks = rng.choice(len(TASKS), number, p=[SHARES[task] for task in TASKS])
    drawn = [str(rng.choice(prompts("train")[TASKS[task]])) for task in tasks]
    return drawn, [render(parse(prompt), rng) for prompt in drawn]


def to_video(clips: np.ndarray) -> torch.Tensor:
    """uint8 `[N, 9, 3, 32, 32]` as float32 `[N, 3, 9, 32, 32]` in [-1, 1]."""
    return to_network(clips).transpose(1, 2).contiguous()


def to_frames(decoded: torch.Tensor) -> np.ndarray:
    """The inverse of `to_video`, rounded and clamped as when saving."""
    assert decoded.shape[2] == FRAMES
    return to_pictures(decoded.transpose(1, 2))
