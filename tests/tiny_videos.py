"""Pipelines of videos, of the real classes, with random weights: 5 frames of 16 x 16 and more."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLWan,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from tiny_parts import WIDTH, t5
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    UMT5Config,
    UMT5EncoderModel,
)

from rewardkit.generators.protocol import Protocol

CLIP = Protocol(
    steps=2, guidance=4.0, height=16, width=16, frames=5, fps=8.0, max_sequence_length=16
)


def wan(folder: Path) -> WanPipeline:
    """Wan 2.1: a rectified-flow transformer of videos, whose text encoder is UMT5."""
    torch.manual_seed(0)
    return WanPipeline(**_wan(channels=16, image_dim=None))


def wan_i2v(folder: Path) -> WanImageToVideoPipeline:
    """Wan 2.1 from a first frame, which CLIP describes too."""
    torch.manual_seed(0)
    return WanImageToVideoPipeline(
        **_wan(channels=36, image_dim=WIDTH),
        image_processor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
        image_encoder=CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=WIDTH,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=32,
                patch_size=16,
            )
        ),
    )


def _wan(channels: int, image_dim: int | None) -> dict[str, object]:
    return {
        "transformer": WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=channels,
            out_channels=16,
            text_dim=WIDTH,
            freq_dim=32,
            ffn_dim=32,
            num_layers=1,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
            image_dim=image_dim,
            added_kv_proj_dim=24 if image_dim else None,
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
        "vae": AutoencoderKLWan(
            base_dim=4,
            z_dim=16,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.1] * 16,
            latents_std=[1.7] * 16,
        ),
        "text_encoder": UMT5EncoderModel(
            UMT5Config(vocab_size=32, d_model=WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        ),
        "tokenizer": t5("", WIDTH)["tokenizer"],
    }


def saved(build: type, folder: Path) -> Path:
    """The folder of a pipeline, written as a user would save it."""
    pipe: DiffusionPipeline = build(folder)
    pipe.save_pretrained(folder / build.__name__)
    return folder / build.__name__
