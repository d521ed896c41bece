"""Pipelines of the real classes, with random weights and about 100,000 parameters each.

They make pictures of 32 x 32 pixels from latents of 8 x 8. Letters are their vocabulary. With them
comes what tests do to them: sample in a few steps, and compare.
"""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from rewardkit.generators.pipelines import Pipeline, generate
from rewardkit.generators.protocol import Protocol

START, END = "<|startoftext|>", "<|endoftext|>"
VOCABULARY = [letter + end for end in ("", "</w>") for letter in string.ascii_lowercase]
VOCABULARY += [START, END]
# With these, Qwen-Image's system prompt has the 34 tokens that its pipeline drops.
QWEN_WORDS = """
system Describe the image by detailing color shape size texture quantity text spatial relationships
of objects and background user assistant
"""
WIDTH = 16
SHORT = Protocol(steps=3, guidance=4.0, height=32, width=32)
PADDED = SHORT.model_copy(update={"max_sequence_length": 16})
PROTOCOLS = {"sd": SHORT, "sdxl": SHORT, "sd3": PADDED, "flux": PADDED}


def sd(folder: Path) -> StableDiffusionPipeline:
    """Stable Diffusion 1: a UNet that predicts noise, PNDM, no safety checker."""
    torch.manual_seed(0)
    return StableDiffusionPipeline(
        unet=_unet(),
        scheduler=PNDMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            skip_prk_steps=True,
            steps_offset=1,
        ),
        vae=_vae(),
        text_encoder=_clip(CLIPTextModel),
        tokenizer=tokenizer(folder),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sdxl(folder: Path) -> StableDiffusionXLPipeline:
    """SDXL: two text encoders, size conditioning, Euler."""
    torch.manual_seed(0)
    return StableDiffusionXLPipeline(
        unet=_unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=WIDTH + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1
        ),
        vae=_vae(),
        text_encoder=_clip(CLIPTextModel),
        tokenizer=tokenizer(folder),
        text_encoder_2=_clip(CLIPTextModelWithProjection),
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
        vae=_vae(),
        text_encoder=_clip(CLIPTextModelWithProjection),
        tokenizer=tokenizer(folder),
        text_encoder_2=_clip(CLIPTextModelWithProjection),
        tokenizer_2=tokenizer(folder),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def sd3_t5(folder: Path) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3 with all three text encoders."""
    pipe = sd3(folder)
    pipe.register_modules(**_t5("_3", 2 * WIDTH))
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
        vae=_vae(),
        text_encoder=_clip(CLIPTextModel),
        tokenizer=tokenizer(folder),
        **_t5("_2", WIDTH),
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
            num_layers=2,
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
                    **_qwen(spelling),
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
        vae=_vae(),
        text_encoder=Qwen3Model(Qwen3Config(**_qwen(spelling), head_dim=8)),
        tokenizer=spelling,
    )


ALL = {"sd": sd, "sdxl": sdxl, "sd3": sd3, "flux": flux}
MORE = {"flux-schnell": flux_schnell, "qwen-image": qwen_image, "z-image": z_image}


def saved(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """The folder of the pipeline of that name, written below `folder` as a user would save it."""
    pipe: DiffusionPipeline = (ALL | MORE)[name](folder / "tokenizer")
    pipe.to(dtype=dtype).save_pretrained(folder / name)
    return folder / name


def pictures(
    pipeline: Pipeline,
    prompts: str | list[str] = "a red ring",
    seeds: Sequence[int] = (0,),
    protocol: Protocol = SHORT,
    batch_size: int = 4,
) -> torch.Tensor:
    """Pictures as one tensor, uint8 [N, 3, H, W]."""
    made = generate(pipeline, prompts, seeds, protocol=protocol, batch_size=batch_size)
    return torch.stack(list(made))


def levels(one: torch.Tensor, other: torch.Tensor) -> tuple[int, float]:
    """The largest difference in 8-bit levels, and the mean one."""
    difference = (one.int() - other.int()).abs()
    return int(difference.max()), float(difference.float().mean())


def tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer that spells: letters, and letters that end a word, 16 tokens in all."""
    folder.mkdir(parents=True, exist_ok=True)
    ids = {token: index for index, token in enumerate(VOCABULARY)}
    (folder / "vocab.json").write_text(json.dumps(ids), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=16)


def speller() -> PreTrainedTokenizerFast:
    """A tokenizer like Qwen's: the words of its system prompt are tokens, others are spelt."""
    specials = ["<|im_start|>", "<|im_end|>"]
    tokens = ["<pad>", "[UNK]", *specials, *map(chr, range(33, 127)), "\n", *QWEN_WORDS.split()]
    tokens += ["##" + letter for letter in string.ascii_lowercase]
    ids = {token: index for index, token in enumerate(tokens)}
    spelling = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    spelling.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n|[^\w\s]"), "isolated"),
            pre_tokenizers.Split(" ", "removed"),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=spelling,
        pad_token="<pad>",
        unk_token="[UNK]",
        additional_special_tokens=specials,
        padding_side="right",
        model_max_length=2048,
        chat_template=(
            "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"
        ),
    )


def _qwen(spelling: PreTrainedTokenizerFast) -> dict[str, object]:
    """Sizes of a language model of Qwen's for that tokenizer."""
    return {
        "vocab_size": len(spelling),
        "hidden_size": WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }


def _unet(cross_attention_dim: int = WIDTH, **options: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=4,
        norm_num_groups=4,
        **options,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
        shift_factor=0.1,
    )


def _t5(suffix: str, width: int) -> dict[str, object]:
    """A T5 encoder and its tokenizer, by the names of a pipeline's parts."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *string.ascii_lowercase]
    config = T5Config(vocab_size=32, d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    return {
        f"text_encoder{suffix}": T5EncoderModel(config),
        f"tokenizer{suffix}": T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0),
    }


def _clip(network: type) -> torch.nn.Module:
    return network(
        CLIPTextConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=WIDTH,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
            projection_dim=WIDTH,
            bos_token_id=VOCABULARY.index(START),
            eos_token_id=VOCABULARY.index(END),
            pad_token_id=VOCABULARY.index(END),
        )
    )
