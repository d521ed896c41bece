"""`shapes-sd`: a small Stable Diffusion 1 that predicts the noise."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextModel

from rewardkit.generators.protocol import Protocol
from rewardkit.shapes.train.flow import text_config
from rewardkit.shapes.train.loop import Schedule, Training
from rewardkit.shapes.train.scene_latents import SceneLatents
from rewardkit.shapes.train.score import held_out
from rewardkit.shapes.train.words import MAX_LENGTH, tokenizer


class Diffusion(Training):
    """Ho et al. 2020, https://arxiv.org/abs/2006.11239, with Stable Diffusion 1.4's schedule."""

    name = "shapes-sd"
    schedule = Schedule(steps=2000, batch=64, lr=1e-3, cool=0.0)
    data = "49,152 rendered scenes of training prompts, a tenth of them without their prompt"
    protocol = Protocol(steps=20, guidance=1.0, height=32, width=32)

    def __init__(self, scenes: SceneLatents) -> None:
        self.scenes = scenes
        self.tokenizer = tokenizer(Path(tempfile.mkdtemp()))
        self.scheduler: Any = DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
        )
        unet: Any = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(48, 96),
            layers_per_block=1,
            cross_attention_dim=64,
            attention_head_dim=4,
            norm_num_groups=16,
        )
        text = CLIPTextModel(text_config(self.tokenizer, 64, 2))
        self.unet = unet
        self.modules = nn.ModuleDict({"unet": unet, "text_encoder": text})

    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        """`|| eps(x_t, t, prompt) - noise ||^2`, t uniform."""
        clean, prompts = self.scenes.draw(self.schedule.batch, rng)
        # The pipeline of this family scales latents but does not shift them.
        clean = clean + self.scenes.shift
        eps = torch.randn(clean.shape, generator=noise)
        t = torch.randint(1000, (len(clean),), generator=noise)
        ids = self.tokenizer(
            prompts, padding="max_length", max_length=MAX_LENGTH, return_tensors="pt"
        ).input_ids
        predicted = self.unet(
            self.scheduler.add_noise(clean, eps, t), t, self.modules["text_encoder"](ids)[0]
        ).sample
        return F.mse_loss(predicted, eps)

    def evaluate(self, modules: nn.ModuleDict, samples: int) -> dict[str, float]:
        """Strict score per task and overall, sampled with the protocol of the card."""
        return held_out(self._pipeline(modules), self.protocol, samples)

    def save(self, modules: nn.ModuleDict, folder: Path) -> None:
        """Save a folder for `StableDiffusionPipeline`."""
        modules["unet"].half()
        pipeline = self._pipeline(modules)
        pipeline.vae.half()
        pipeline.save_pretrained(folder)

    def _pipeline(self, modules: nn.ModuleDict) -> Any:
        return StableDiffusionPipeline(
            vae=self.scenes.vae,
            text_encoder=modules["text_encoder"],
            tokenizer=self.tokenizer,
            unet=modules["unet"],
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
