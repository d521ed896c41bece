"""Networks of published models at their true sizes, with random weights: what a GPU has to hold.

Configurations are those of the models' own config.json files; parameter counts are tested against
the published ones. With `torch.device("meta")` around a call nothing is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLHunyuanVideo,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tiny_parts import (
    END,
    LLAMA_SPECIALS,
    LLAMA_WORDS,
    START,
    VOCABULARY,
    qwen,
    speller,
    t5,
    tokenizer,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    LlamaConfig,
    LlamaModel,
    T5Config,
    T5EncoderModel,
)

#: Parameters of the published checkpoints.
PARAMETERS = {
    "sd1.4 unet": 859_520_964,
    "sd1.4 vae": 83_653_863,
    "clip-l text": 123_060_480,
    "sd3.5-medium transformer": 2_243_171_520,
    "clip-g text": 694_659_840,
    "t5-xxl encoder": 4_762_310_656,
    "flux.1-dev transformer": 11_901_408_320,
    "hunyuanvideo transformer": 12_821_012_544,
    "hunyuanvideo vae": 246_478_803,
}


@contextmanager
def built_on(device: torch.device | str, dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Networks made inside are made there, in that dtype: a GPU draws their weights in seconds."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_default_dtype(before)


def unet() -> UNet2DConditionModel:
    """CompVis/stable-diffusion-v1-4."""
    return UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)


def vae(latent_channels: int = 4) -> AutoencoderKL:
    """The VAE of Stable Diffusion 1, or with 16 channels that of Stable Diffusion 3."""
    third = latent_channels == 16
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=latent_channels,
        sample_size=1024 if third else 512,
        scaling_factor=1.5305 if third else 0.18215,
        shift_factor=0.0609 if third else None,
        use_quant_conv=not third,
        use_post_quant_conv=not third,
    )


def clip_l(projected: bool = False) -> nn.Module:
    """The text half of openai/clip-vit-large-patch14."""
    return _clip(projected, 768, layers=12, heads=12, activation="quick_gelu")


def clip_g() -> nn.Module:
    """The text half of laion/CLIP-ViT-bigG-14, with its projection."""
    return _clip(True, 1280, layers=32, heads=20, activation="gelu")


def t5_xxl() -> T5EncoderModel:
    """The encoder of google/t5-v1_1-xxl."""
    return T5EncoderModel(
        T5Config(
            vocab_size=32_128, d_model=4096, d_kv=64, d_ff=10_240, num_layers=24, num_heads=64,
            feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip


def sd3_transformer() -> SD3Transformer2DModel:
    """stabilityai/stable-diffusion-3.5-medium."""
    return SD3Transformer2DModel(
        sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24,
        attention_head_dim=64, num_attention_heads=24, joint_attention_dim=4096,
        caption_projection_dim=1536, pooled_projection_dim=2048, pos_embed_max_size=384,
        dual_attention_layers=tuple(range(13)), qk_norm="rms_norm",
    )  # fmt: skip


def flux_transformer() -> FluxTransformer2DModel:
    """black-forest-labs/FLUX.1-dev."""
    return FluxTransformer2DModel(guidance_embeds=True)


#: The networks whose parameters `PARAMETERS` counts.
BUILDERS = {
    "sd1.4 unet": unet,
    "sd1.4 vae": vae,
    "clip-l text": clip_l,
    "sd3.5-medium transformer": sd3_transformer,
    "clip-g text": clip_g,
    "t5-xxl encoder": t5_xxl,
    "flux.1-dev transformer": flux_transformer,
    "hunyuanvideo transformer": HunyuanVideoTransformer3DModel,
    "hunyuanvideo vae": AutoencoderKLHunyuanVideo,
}


def sd14(folder: Path) -> StableDiffusionPipeline:
    """Stable Diffusion 1.4, its tokenizer the one that spells."""
    return StableDiffusionPipeline(
        unet=unet(),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
            clip_sample=False, set_alpha_to_one=False, steps_offset=1,
        ),
        vae=vae(),
        text_encoder=clip_l(),
        tokenizer=_tokenizer(folder),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def sd35_medium(folder: Path) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3.5 Medium without T5, whose 4.8 billion parameters have their own test."""
    return StableDiffusion3Pipeline(
        transformer=sd3_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(16),
        text_encoder=clip_l(projected=True),
        tokenizer=_tokenizer(folder),
        text_encoder_2=clip_g(),
        tokenizer_2=_tokenizer(folder),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def flux_dev(folder: Path) -> FluxPipeline:
    """FLUX.1-dev with one thin layer in the place of T5, which has its own test."""
    return FluxPipeline(
        transformer=flux_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15,
            base_image_seq_len=256, max_image_seq_len=4096,
        ),
        vae=vae(16),
        text_encoder=clip_l(),
        tokenizer=_tokenizer(folder),
        **t5("_2", 4096),
    )  # fmt: skip


def hunyuan_video(folder: Path) -> HunyuanVideoPipeline:
    """HunyuanVideo with two thin layers in the place of Llama, which stays on the CPU in training.

    Transformer and VAE are hunyuanvideo-community/HunyuanVideo's, whose sizes are diffusers'
    defaults.
    """
    spelling = speller(LLAMA_WORDS, LLAMA_SPECIALS)
    thin = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8}
    return HunyuanVideoPipeline(
        transformer=HunyuanVideoTransformer3DModel(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=7.0),
        vae=AutoencoderKLHunyuanVideo(),
        text_encoder=LlamaModel(LlamaConfig(**{**qwen(spelling), **thin})),
        tokenizer=spelling,
        text_encoder_2=clip_l(),
        tokenizer_2=_tokenizer(folder),
    )


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """The one that spells, with as many tokens as CLIP reads."""
    spelling = tokenizer(folder)
    spelling.model_max_length = 77
    return spelling


def _clip(projected: bool, width: int, layers: int, heads: int, activation: str) -> nn.Module:
    network = CLIPTextModelWithProjection if projected else CLIPTextModel
    return network(
        CLIPTextConfig(
            vocab_size=49_408, hidden_size=width, intermediate_size=4 * width,
            num_hidden_layers=layers, num_attention_heads=heads, hidden_act=activation,
            projection_dim=width, max_position_embeddings=77,
            bos_token_id=VOCABULARY.index(START), eos_token_id=VOCABULARY.index(END),
            pad_token_id=VOCABULARY.index(END),
        )
    )  # fmt: skip
