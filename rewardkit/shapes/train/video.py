"""`shapes-video`, a small HunyuanVideo, and `shapes-i2v`, a SkyReels-V1: rectified flows."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKLHunyuanVideo,
    FlowMatchEulerDiscreteScheduler,
    HunyuanSkyreelsImageToVideoPipeline,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
)
from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextModel, LlamaConfig, LlamaModel

from rewardkit.generators.protocol import Protocol
from rewardkit.shapes.motion import FPS, FRAMES, TASKS, prompts
from rewardkit.shapes.train.flow import text_config
from rewardkit.shapes.train.loop import Schedule, Training
from rewardkit.shapes.train.score import held_out_clips
from rewardkit.shapes.train.video_autoencoder import draw, to_video
from rewardkit.shapes.train.words import MAX_LENGTH, llama_tokenizer, tokenizer

CLIPS = 2**13
# Shift of the timesteps, in training and in sampling: how many shapes there are and where they move
# is decided at high noise, as the same content takes many more latents than in an image.
SHIFT = 5.0
# Share of samples without a prompt, for classifier-free guidance.
_UNPROMPTED = 0.1
# The length to which this family pads the prompt for CLIP.
_CLIP_LENGTH = 77


class VideoTraining(Training):
    """Velocity at shifted logit-normal timesteps, on latents `[B, 16, 3, 8, 8]`."""

    name = "shapes-video"
    checked = 100
    schedule = Schedule(steps=7000, batch=32, lr=2e-3, cool=0.25)
    data = "8,192 rendered clips of training prompts, a tenth of them without their prompt"
    protocol = Protocol(
        steps=20,
        guidance=None,
        height=32,
        width=32,
        frames=FRAMES,
        fps=FPS,
        max_sequence_length=MAX_LENGTH,
    )
    pipeline: Any = HunyuanVideoPipeline
    # Whether the latents of the first frame are an input, as channels of their own.
    first_frame = False

    def __init__(self, vae: Path, seed: int) -> None:
        self.vae: Any = AutoencoderKLHunyuanVideo.from_pretrained(vae).float().eval()
        self.vae.requires_grad_(False).register_to_config(_name_or_path=vae.name)
        texts = [text for task in TASKS for text in prompts("train")[task]]
        around: Any = DEFAULT_PROMPT_TEMPLATE
        self.template, self.crop = str(around["template"]), int(around["crop_start"])
        self.llama_tokenizer = llama_tokenizer(texts, self.template, self.crop)
        self.clip_tokenizer = tokenizer(Path(tempfile.mkdtemp()), texts, _CLIP_LENGTH)
        # The pipeline takes the third last hidden states: those after one layer.
        llama = LlamaConfig(
            vocab_size=len(self.llama_tokenizer),
            hidden_size=48,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=self.crop + MAX_LENGTH,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )
        channels = self.vae.config.latent_channels
        transformer: Any = HunyuanVideoTransformer3DModel(
            in_channels=2 * channels if self.first_frame else channels,
            out_channels=channels,
            num_attention_heads=4,
            attention_head_dim=24,
            num_layers=1,
            num_single_layers=3,
            num_refiner_layers=1,
            patch_size=2,
            patch_size_t=1,
            guidance_embeds=False,
            text_embed_dim=48,
            pooled_projection_dim=32,
            rope_axes_dim=(4, 10, 10),
        )
        self.transformer = transformer
        self.modules = nn.ModuleDict(
            {
                "transformer": transformer,
                "text_encoder": LlamaModel(llama),
                "text_encoder_2": CLIPTextModel(
                    text_config(self.clip_tokenizer, 32, 2, _CLIP_LENGTH)
                ),
            }
        )
        rng = np.random.default_rng([seed, 2**31])
        self.prompts, self.clips = draw(CLIPS, rng)
        self.encoded: dict[int, torch.Tensor] = {}

    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        """`|| v(x_t, t, prompt) - (noise - x) ||^2` with `x_t = (1 - t) x + t noise`."""
        number = self.schedule.batch
        chosen = rng.integers(CLIPS, size=number)
        empty = rng.random(number) < _UNPROMPTED
        texts = ["" if no else self.prompts[i] for i, no in zip(chosen, empty, strict=True)]
        clean, *first = self._latents(chosen).split(self.vae.config.latent_channels, 1)
        eps = torch.randn(clean.shape, generator=noise)
        t = torch.sigmoid(torch.randn(number, 1, 1, 1, 1, generator=noise) + math.log(SHIFT))
        noisy = (1 - t) * clean + t * eps
        velocity = self.transformer(
            torch.cat([noisy, *first], 1),
            timestep=t.flatten() * 1000,
            **self._encode(texts),
            return_dict=False,
        )[0]
        return F.mse_loss(velocity, eps - clean)

    def evaluate(self, modules: nn.ModuleDict, samples: int) -> dict[str, float]:
        """Results on held-out prompts, sampled with the protocol of the card."""
        modules.eval()
        return held_out_clips(self._pipeline(modules), self.protocol, samples, self.first_frame)

    def save(self, modules: nn.ModuleDict, folder: Path) -> None:
        """Save a folder for the pipeline's class."""
        modules["transformer"].half()
        pipeline = self._pipeline(modules)
        pipeline.vae.half()
        pipeline.save_pretrained(folder)

    def _latents(self, chosen: np.ndarray) -> torch.Tensor:
        """Latents of clips, variance 1, then those of first frames; each is encoded once."""
        new = sorted({int(index) for index in chosen} - self.encoded.keys())
        if new:
            pixels = to_video(np.stack([self.clips[index] for index in new]))
            with torch.no_grad():
                latents = self.vae.encode(pixels).latent_dist.mode()
                if self.first_frame:
                    first = torch.zeros_like(latents)
                    first[:, :, :1] = self.vae.encode(pixels[:, :, :1]).latent_dist.mode()
                    latents = torch.cat([latents, first], 1)
            self.encoded.update(zip(new, latents * self.vae.config.scaling_factor, strict=True))
        return torch.stack([self.encoded[int(index)] for index in chosen])

    def _encode(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """As `HunyuanVideoPipeline.encode_prompt` does, with gradients."""
        tokens = self.llama_tokenizer(
            [self.template.format(text) for text in texts],
            max_length=self.crop + MAX_LENGTH,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        )
        hidden = self.modules["text_encoder"](
            tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True
        ).hidden_states[-3]
        ids = self.clip_tokenizer(
            texts, padding="max_length", max_length=_CLIP_LENGTH, return_tensors="pt"
        ).input_ids
        return {
            "encoder_hidden_states": hidden[:, self.crop :],
            "encoder_attention_mask": tokens.attention_mask[:, self.crop :].float(),
            "pooled_projections": self.modules["text_encoder_2"](ids).pooler_output,
        }

    def _pipeline(self, modules: nn.ModuleDict) -> Any:
        pipeline = self.pipeline(
            transformer=modules["transformer"],
            scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
            vae=self.vae,
            text_encoder=modules["text_encoder"],
            tokenizer=self.llama_tokenizer,
            text_encoder_2=modules["text_encoder_2"],
            tokenizer_2=self.clip_tokenizer,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


class FirstFrameTraining(VideoTraining):
    """The clip that continues a first frame, trained from `shapes-video` as SkyReels V1 was.

    The weights of the first frame's channels start at zero.
    """

    name = "shapes-i2v"
    schedule = Schedule(steps=900, batch=32, lr=2e-3, cool=0.5)
    data = f"{VideoTraining.data}; the first frame is given"
    pipeline = HunyuanSkyreelsImageToVideoPipeline
    first_frame = True

    def __init__(self, vae: Path, seed: int) -> None:
        super().__init__(vae, seed)
        start = HunyuanVideoPipeline.from_pretrained(vae.parent / VideoTraining.name, vae=None)
        own = self.transformer.x_embedder.proj.weight
        weights = start.transformer.state_dict()
        weights["x_embedder.proj.weight"] = torch.zeros_like(own)
        weights["x_embedder.proj.weight"][:, : own.shape[1] // 2] = (
            start.transformer.x_embedder.proj.weight
        )
        self.transformer.load_state_dict(weights)
        for name in ("text_encoder", "text_encoder_2"):
            self.modules[name].load_state_dict(getattr(start, name).state_dict())
