"""Pipelines of videos, of the real classes, with random weights: 5 frames of 16 x 16 and more."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLWan,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    HunyuanSkyreelsImageToVideoPipeline,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from tiny_parts import LLAMA_SPECIALS, LLAMA_WORDS, WIDTH, clip, qwen, speller, t5, tokenizer
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaModel,
    UMT5Config,
    UMT5EncoderModel,
)

from rewardkit.generators.protocol import Protocol

CLIP = Protocol(
    steps=2, guidance=4.0, height=16, width=16, frames=5, fps=8.0, max_sequence_length=16
)
LONG = CLIP.changed({"max_sequence_length": 512})
TRUE = CLIP.changed({"guidance": 1.0, "true_guidance": 4.0, "negative_prompt": ""})
PROTOCOLS = {"hunyuan-video": CLIP, "skyreels": TRUE, "wan": CLIP, "wan-i2v": LONG}


def hunyuan_video(folder: Path) -> HunyuanVideoPipeline:
    """HunyuanVideo: a rectified-flow transformer of videos with embedded guidance, Llama, CLIP."""
    return HunyuanVideoPipeline(**_hunyuan(folder, channels=4))


def skyreels(folder: Path) -> HunyuanSkyreelsImageToVideoPipeline:
    """SkyReels V1: HunyuanVideo from a first frame, whose latents come beside the noisy ones."""
    return HunyuanSkyreelsImageToVideoPipeline(**_hunyuan(folder, channels=8))


def _hunyuan(folder: Path, channels: int) -> dict[str, object]:
    torch.manual_seed(0)
    spelling = speller(LLAMA_WORDS, LLAMA_SPECIALS)
    return dict(
        transformer=HunyuanVideoTransformer3DModel(
            in_channels=channels,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=2,
            patch_size_t=1,
            guidance_embeds=True,
            text_embed_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            rope_axes_dim=(2, 4, 4),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        vae=AutoencoderKLHunyuanVideo(
            latent_channels=4,
            down_block_types=("HunyuanVideoDownBlock3D",) * 4,
            up_block_types=("HunyuanVideoUpBlock3D",) * 4,
            block_out_channels=(8,) * 4,
            layers_per_block=1,
            norm_num_groups=4,
        ),
        text_encoder=LlamaModel(LlamaConfig(**{**qwen(spelling), "num_hidden_layers": 4})),
        tokenizer=spelling,
        text_encoder_2=clip(CLIPTextModel, length=77),
        tokenizer_2=tokenizer(folder / "tokenizer"),
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
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
        ),
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


ALL = {"hunyuan-video": hunyuan_video, "skyreels": skyreels, "wan": wan, "wan-i2v": wan_i2v}


def saved(name: str, folder: Path) -> Path:
    """The folder of the pipeline of that name, written as a user would save it."""
    pipe: DiffusionPipeline = ALL[name](folder)
    pipe.save_pretrained(folder / name)
    return folder / name
