"""A pipeline that makes pictures of text, and of text and a source picture."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
)
from tiny_parts import WIDTH, qwen, speller
from transformers import Qwen3Config, Qwen3ForCausalLM

EDIT = {"steps": 3, "guidance": 4.0, "height": 32, "width": 32, "max_sequence_length": 64}


def flux2_klein(folder: Path) -> Flux2KleinPipeline:
    """FLUX.2 klein: a rectified-flow transformer, Qwen3, and a VAE with statistics of patches."""
    torch.manual_seed(0)
    spelling = speller()
    sizes = {**qwen(spelling), "num_hidden_layers": 28}  # three of whose states are the text's
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2)
    return Flux2KleinPipeline(
        transformer=Flux2Transformer2DModel(
            patch_size=1,
            in_channels=16,  # 4 channels, packed 2 x 2
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * WIDTH,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=8)),
        tokenizer=spelling,
    )
