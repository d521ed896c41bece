"""The autoencoder of both video generators, from 9 frames of 32x32 to 16 channels of 3x8x8."""

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
from rewardkit.shapes.world import BACKGROUND

# Two shapes are harder than one.
SHARES = {"moving": 0.15, "color_moving": 0.35, "two_moving": 0.5}
_SUPERPOSED = 6
# Initial logarithm of the posterior's variance. With more noise, the decoder ignores its input.
_INITIAL_LOG_VARIANCE = -6.0


class VideoAutoencoder(Autoencoder):
    """The same on clips.

    Up to six clips are superposed: a shape covers a thirtieth of a frame, and of clips with one or
    two the decoder learns little but the background.
    """

    name = "shapes-video-vae"
    checked = 100
    schedule = Schedule(steps=10000, batch=4, lr=2e-3, cool=0.7, ema=0.99, evaluate_every=2000)
    data = "rendered clips of training prompts, one to six of them superposed"

    def __init__(self) -> None:
        vae: Any = AutoencoderKLHunyuanVideo(
            down_block_types=("HunyuanVideoDownBlock3D",) * 3,
            up_block_types=("HunyuanVideoUpBlock3D",) * 3,
            block_out_channels=(16, 16, 32),
            layers_per_block=1,
            latent_channels=16,
            norm_num_groups=2,
            spatial_compression_ratio=4,
            temporal_compression_ratio=4,
            mid_block_add_attention=False,
        )
        with torch.no_grad():
            vae.quant_conv.bias[-vae.config.latent_channels :] = _INITIAL_LOG_VARIANCE
        self.vae = vae
        self.modules = nn.ModuleDict({"vae": vae})

    def _pixels(self, rng: np.random.Generator) -> torch.Tensor:
        """A batch as the network takes it."""
        clips = np.stack(draw(self.schedule.batch * _SUPERPOSED, rng)[1])
        clips = clips.reshape(self.schedule.batch, _SUPERPOSED, *clips.shape[1:])
        pixels = clips[:, 0]
        for index, number in enumerate(rng.integers(_SUPERPOSED, size=len(pixels))):
            for clip in clips[index, 1 : 1 + number]:
                shapes = (clip != np.array(BACKGROUND, np.uint8)[:, None, None]).any(1)
                pixels[index] = np.where(shapes[:, None], clip, pixels[index])
        return to_video(pixels)

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
        """Save it with the scale that gives its latents variance 1 about the channels' means."""
        vae: Any = modules["vae"]
        clips = draw(512, np.random.default_rng(0))[1]
        with torch.no_grad():
            latents = vae.encode(to_video(np.stack(clips))).latent_dist.mode()
        deviation = latents.std((0, 2, 3, 4)).square().mean().sqrt()
        vae.register_to_config(scaling_factor=round(1 / float(deviation), 4))
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
