"""`shapes-flow`: a small Stable Diffusion 3 without T5, trained as a rectified flow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from rewardkit.generators.protocol import Protocol
from rewardkit.shapes.train.loop import Schedule, Training
from rewardkit.shapes.train.scene_latents import SceneLatents
from rewardkit.shapes.train.score import held_out
from rewardkit.shapes.train.words import MAX_LENGTH, tokenizer


class FlowTraining(Training):
    """Esser et al. 2024, https://arxiv.org/abs/2403.03206: velocity, logit-normal timesteps."""

    name = "shapes-flow"
    schedule = Schedule(steps=4000, batch=64, lr=2e-3, cool=0.125)
    data = "49,152 rendered scenes of training prompts, a tenth of them without their prompt"
    # Without T5, Stable Diffusion 3 pads with zero tokens; this model was trained without them.
    protocol = Protocol(steps=20, guidance=1.0, height=32, width=32, max_sequence_length=0)

    def __init__(self, scenes: SceneLatents) -> None:
        self.scenes = scenes
        self.tokenizer = tokenizer(Path(tempfile.mkdtemp()))
        texts = [
            CLIPTextModelWithProjection(text_config(self.tokenizer, width, layers))
            for width, layers in ((64, 3), (32, 2))
        ]
        transformer: Any = SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=4,
            attention_head_dim=32,
            num_attention_heads=4,
            joint_attention_dim=96,
            caption_projection_dim=128,
            pooled_projection_dim=96,
            pos_embed_max_size=4,
            qk_norm="rms_norm",
        )
        self.transformer = transformer
        self.modules = nn.ModuleDict(
            {"transformer": transformer, "text_encoder": texts[0], "text_encoder_2": texts[1]}
        )

    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        """`|| v(x_t, t, prompt) - (noise - x) ||^2` with `x_t = (1 - t) x + t noise`."""
        clean, prompts = self.scenes.draw(self.schedule.batch, rng)
        eps = torch.randn(clean.shape, generator=noise)
        t = torch.sigmoid(torch.randn(len(clean), 1, 1, 1, generator=noise))
        embeds, pooled = self._encode(prompts)
        velocity = self.transformer(
            hidden_states=(1 - t) * clean + t * eps,
            timestep=t.flatten() * 1000,
            encoder_hidden_states=embeds,
            pooled_projections=pooled,
        ).sample
        return F.mse_loss(velocity, eps - clean)

    def evaluate(self, modules: nn.ModuleDict, samples: int) -> dict[str, float]:
        """Strict score per task and overall, sampled with the protocol of the card."""
        return held_out(self._pipeline(modules), self.protocol, samples)

    def save(self, modules: nn.ModuleDict, folder: Path) -> None:
        """Save a folder for `StableDiffusion3Pipeline`."""
        modules["transformer"].half()
        pipeline = self._pipeline(modules)
        pipeline.vae.half()
        pipeline.save_pretrained(folder)

    def _encode(self, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """As `StableDiffusion3Pipeline.encode_prompt` does, with gradients."""
        ids = self.tokenizer(
            prompts, padding="max_length", max_length=MAX_LENGTH, return_tensors="pt"
        ).input_ids
        outputs = [
            self.modules[name](ids, output_hidden_states=True)
            for name in ("text_encoder", "text_encoder_2")
        ]
        embeds = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
        return embeds, torch.cat([output.text_embeds for output in outputs], dim=-1)

    def _pipeline(self, modules: nn.ModuleDict) -> Any:
        return StableDiffusion3Pipeline(
            transformer=modules["transformer"],
            scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
            vae=self.scenes.vae,
            text_encoder=modules["text_encoder"],
            tokenizer=self.tokenizer,
            text_encoder_2=modules["text_encoder_2"],
            tokenizer_2=self.tokenizer,
            text_encoder_3=None,
            tokenizer_3=None,
        )


def text_config(words: Any, width: int, layers: int) -> CLIPTextConfig:
    """Configuration of a small CLIP text encoder that pools at the end token."""
    return CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 16,
        projection_dim=width,
        max_position_embeddings=MAX_LENGTH,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
