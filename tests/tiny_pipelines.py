"""Pipelines of the real classes, with random weights and about 100,000 parameters each.

They make pictures of 32 x 32 pixels from latents of 8 x 8. Letters are their vocabulary. With them
comes what tests do to them: sample in a few steps, and compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tiny_parts import WIDTH, clip, qwen, speller, t5, tokenizer, unet, vae
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from rewardkit.generators.pipelines import Pipeline, generate
from rewardkit.generators.protocol import Protocol
from rewardkit.generators.requests import Request

SHORT = Protocol(steps=3, guidance=4.0, height=32, width=32)
PADDED = SHORT.model_copy(update={"max_sequence_length": 16})
CHAT = SHORT.model_copy(update={"max_sequence_length": 64})
TRUE = PADDED.model_copy(update={"guidance": None, "true_guidance": 4.0, "negative_prompt": " "})
PROTOCOLS = {
    "sd": SHORT,
    "sd-v": SHORT,
    "sdxl": SHORT,
    "sd3": PADDED,
    "flux": PADDED,
    "flux-schnell": PADDED,
    "flux2-klein": CHAT,
    "flux2-klein-distilled": CHAT.model_copy(update={"guidance": None}),
    "qwen-image": TRUE.model_copy(update={"max_sequence_length": 32}),
    "z-image": CHAT,
}


def sd(folder: Path) -> StableDiffusionPipeline:
    """Stable Diffusion 1: a UNet that predicts noise, PNDM, no safety checker."""
    torch.manual_seed(0)
    return StableDiffusionPipeline(
        unet=unet(),
        scheduler=PNDMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            skip_prk_steps=True,
            steps_offset=1,
        ),
        vae=vae(),
        text_encoder=clip(CLIPTextModel),
        tokenizer=tokenizer(folder),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sd_v(folder: Path) -> StableDiffusionPipeline:
    """Stable Diffusion 2: a UNet that predicts v."""
    pipe = sd(folder)
    pipe.scheduler.register_to_config(prediction_type="v_prediction")
    return pipe


def sdxl(folder: Path) -> StableDiffusionXLPipeline:
    """SDXL: two text encoders, size conditioning, Euler."""
    torch.manual_seed(0)
    return StableDiffusionXLPipeline(
        unet=unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=WIDTH + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1
        ),
        vae=vae(),
        text_encoder=clip(CLIPTextModel),
        tokenizer=tokenizer(folder),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        tokenizer_2=tokenizer(folder),
        add_watermarker=False,
    )


def sd3(folder: Path) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3: a rectified-flow transformer, two CLIPs, no T5."""
    torch.manual_seed(0)
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=16,
            pooled_projection_dim=2 * WIDTH,
            pos_embed_max_size=16,
            qk_norm="rms_norm",
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=clip(CLIPTextModelWithProjection),
        tokenizer=tokenizer(folder),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        tokenizer_2=tokenizer(folder),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def sd3_t5(folder: Path) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3 with all three text encoders."""
    pipe = sd3(folder)
    pipe.register_modules(**t5("_3", 2 * WIDTH))
    return pipe


def flux_schnell(folder: Path) -> FluxPipeline:
    """FLUX.1-schnell: FLUX.1 without an input for guidance."""
    return flux(folder, guidance_embeds=False)


def flux(folder: Path, guidance_embeds: bool = True) -> FluxPipeline:
    """FLUX.1-dev: a rectified-flow transformer with embedded guidance, CLIP and T5."""
    torch.manual_seed(0)
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,  # 4 channels, packed 2 x 2
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=guidance_embeds,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=clip(CLIPTextModel),
        tokenizer=tokenizer(folder),
        **t5("_2", WIDTH),
    )


def flux2_klein_distilled(folder: Path) -> Flux2KleinPipeline:
    """FLUX.2 klein, distilled: without guidance."""
    return flux2_klein(folder, is_distilled=True)


def flux2_klein(folder: Path, is_distilled: bool = False) -> Flux2KleinPipeline:
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
        is_distilled=is_distilled,
    )


def qwen_image(folder: Path) -> QwenImagePipeline:
    """Qwen-Image: a rectified-flow transformer with true guidance, text of any length, Qwen2.5-VL.

    Its VAE is a video's, whose latents have statistics by channel.
    """
    torch.manual_seed(0)
    spelling = speller()
    return QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,  # 4 channels, packed 2 x 2
            out_channels=4,
            num_layers=3,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True,
            base_shift=0.5,
            max_shift=0.9,
            base_image_seq_len=4,
            max_image_seq_len=64,
            shift_terminal=0.02,
        ),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True],
            latents_mean=[0.1, -0.2, 0.3, 0.0],
            latents_std=[1.5, 0.5, 1.0, 2.0],
        ),
        text_encoder=Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig(
                text_config={
                    **qwen(spelling),
                    "rope_parameters": {
                        "rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6,
                    },
                },
                vision_config={
                    "depth": 1,
                    "hidden_size": 16,
                    "intermediate_size": 16,
                    "num_heads": 2,
                    "out_hidden_size": WIDTH,
                },
                image_token_id=2,
                video_token_id=3,
                vision_start_token_id=2,
                vision_end_token_id=3,
            )
        ),
        tokenizer=spelling,
    )  # fmt: skip


def z_image(folder: Path) -> ZImagePipeline:
    """Z-Image: a rectified-flow transformer of one stream, with text of any length, Qwen3."""
    torch.manual_seed(0)
    spelling = speller()
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[256, 32, 32],
    )
    for padding in (transformer.x_pad_token, transformer.cap_pad_token):
        torch.nn.init.normal_(padding)  # diffusers begins with zeros, and a checkpoint does not
    return ZImagePipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(),
        text_encoder=Qwen3Model(Qwen3Config(**qwen(spelling), head_dim=8)),
        tokenizer=spelling,
    )


ALL = {
    "sd": sd,
    "sd-v": sd_v,
    "sdxl": sdxl,
    "sd3": sd3,
    "flux": flux,
    "flux-schnell": flux_schnell,
    "flux2-klein": flux2_klein,
    "flux2-klein-distilled": flux2_klein_distilled,
    "qwen-image": qwen_image,
    "z-image": z_image,
}


def saved(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """The folder of the pipeline of that name, written below `folder` as a user would save it."""
    pipe: DiffusionPipeline = ALL[name](folder / "tokenizer")
    pipe.to(dtype=dtype).save_pretrained(folder / name)
    return folder / name


def pictures(
    pipeline: Pipeline,
    prompts: str | Sequence[str] = "a red ring",
    seeds: Sequence[int] = (0,),
    protocol: Protocol = SHORT,
    batch_size: int = 4,
) -> torch.Tensor:
    """Pictures as one tensor, uint8 [N, 3, H, W]."""
    made = generate(pipeline, requests(prompts, seeds), protocol=protocol, batch_size=batch_size)
    return torch.stack(list(made))


def requests(prompts: str | Sequence[str], seeds: Sequence[int]) -> list[Request]:
    """A request per seed; a single prompt serves every seed."""
    texts = [prompts] * len(seeds) if isinstance(prompts, str) else prompts
    return [Request(prompt, seed) for prompt, seed in zip(texts, seeds, strict=True)]


def levels(one: torch.Tensor, other: torch.Tensor) -> tuple[int, float]:
    """The largest difference in 8-bit levels, and the mean one."""
    difference = (one.int() - other.int()).abs()
    return int(difference.max()), float(difference.float().mean())
