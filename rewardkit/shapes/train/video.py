"""`shapes-video`, a small HunyuanVideo, and `shapes-i2v`, a SkyReels-V1: rectified flows."""

from __future__ import annotations

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

from rewardkit.generators.pipelines import Pipeline, generate
from rewardkit.generators.protocol import Protocol
from rewardkit.generators.requests import Request
from rewardkit.shapes.detect import detect
from rewardkit.shapes.motion import FPS, FRAMES, TASKS, balanced, motion, parse, prompts, render
from rewardkit.shapes.train.flow import text_config
from rewardkit.shapes.train.loop import Schedule, Training
from rewardkit.shapes.train.video_autoencoder import draw, to_video
from rewardkit.shapes.train.words import MAX_LENGTH, llama_tokenizer, tokenizer

CLIPS = 2**14
# Share of samples without a prompt, for classifier-free guidance.
_UNPROMPTED = 0.1
# The length to which this family pads the prompt for CLIP.
_CLIP_LENGTH = 77


class VideoTraining(Training):
    """Velocity at logit-normal timesteps, as `shapes-flow`, on latents `[B, 16, 3, 8, 8]`."""

    name = "shapes-video"
    schedule = Schedule(steps=4000, batch=32, lr=2e-3, cool=0.125)
    data = "16,384 rendered clips of training prompts, a tenth of them without their prompt"
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
            hidden_size=64,
            intermediate_size=256,
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
            attention_head_dim=32,
            num_layers=2,
            num_single_layers=2,
            num_refiner_layers=1,
            patch_size=2,
            patch_size_t=1,
            guidance_embeds=False,
            text_embed_dim=64,
            pooled_projection_dim=32,
            rope_axes_dim=(8, 12, 12),
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
        self.prompts, clips = draw(CLIPS, rng)
        self.latents, self.first = self._encode_clips(clips)

    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        """`|| v(x_t, t, prompt) - (noise - x) ||^2` with `x_t = (1 - t) x + t noise`."""
        number = self.schedule.batch
        chosen = rng.integers(CLIPS, size=number)
        empty = rng.random(number) < _UNPROMPTED
        texts = ["" if no else self.prompts[i] for i, no in zip(chosen, empty, strict=True)]
        clean = self.latents[torch.from_numpy(chosen)]
        eps = torch.randn(clean.shape, generator=noise)
        t = torch.sigmoid(torch.randn(number, 1, 1, 1, 1, generator=noise))
        noisy = (1 - t) * clean + t * eps
        if self.first_frame:
            first = self.first[torch.from_numpy(chosen)]
            given = torch.zeros_like(clean)
            given[:, :, :1] = first
            noisy = torch.cat([noisy, given], 1)
        velocity = self.transformer(
            noisy, timestep=t.flatten() * 1000, **self._encode(texts), return_dict=False
        )[0]
        return F.mse_loss(velocity, eps - clean)

    def evaluate(self, modules: nn.ModuleDict, samples: int) -> dict[str, float]:
        """Results on held-out prompts, sampled with the protocol of the card.

        `strict` is the share of clips whose every step is right, `motion` that of steps; then
        `motion` per task, and the share of clips that keep the first frame they were given.
        """
        texts = balanced("held-out", samples // len(TASKS))
        rng = np.random.default_rng(1)
        firsts = [render(parse(text), rng)[0] for text in texts]
        requests = [
            Request(
                text, seed, {"first_frame": torch.from_numpy(first)} if self.first_frame else {}
            )
            for seed, (text, first) in enumerate(zip(texts, firsts, strict=True))
        ]
        modules.eval()
        model = Pipeline(
            self._pipeline(modules), "in training", None, None, None, None, self.protocol
        )
        with torch.no_grad():
            clips: list[Any] = list(generate(model, requests, batch_size=60))
        found = [detect(np.asarray(clip.frames)) for clip in clips]
        shares = [motion(parse(text), each) for text, each in zip(texts, found, strict=True)]
        reached = {
            "strict": float(np.mean([share == 1.0 for share in shares])),
            "motion": float(np.mean(shares)),
        }
        for task in TASKS:
            of_task = [s for s, text in zip(shares, texts, strict=True) if parse(text).task == task]
            reached[task] = float(np.mean(of_task))
        if self.first_frame:
            kept = [
                _shown(detect(first[None])[0]) == _shown(each[0])
                for first, each in zip(firsts, found, strict=True)
            ]
            reached["first frame kept"] = float(np.mean(kept))
        return reached

    def save(self, modules: nn.ModuleDict, folder: Path) -> None:
        """Save a folder for the pipeline's class."""
        modules["transformer"].half()
        pipeline = self._pipeline(modules)
        pipeline.vae.half()
        pipeline.save_pretrained(folder)

    def _encode_clips(self, clips: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents of clips and of their first frames, variance 1."""
        encoded, first = [], []
        with torch.no_grad():
            for start in range(0, len(clips), 64):
                pixels = to_video(np.stack(clips[start : start + 64]))
                encoded.append(self.vae.encode(pixels).latent_dist.mode())
                if self.first_frame:
                    first.append(self.vae.encode(pixels[:, :, :1]).latent_dist.mode())
        scale = self.vae.config.scaling_factor
        return torch.cat(encoded) * scale, torch.cat(first or encoded[:1]) * scale

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
            scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
            vae=self.vae,
            text_encoder=modules["text_encoder"],
            tokenizer=self.llama_tokenizer,
            text_encoder_2=modules["text_encoder_2"],
            tokenizer_2=self.clip_tokenizer,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


class FirstFrameTraining(VideoTraining):
    """The clip that continues a first frame."""

    name = "shapes-i2v"
    data = f"{VideoTraining.data}; the first frame is given"
    pipeline = HunyuanSkyreelsImageToVideoPipeline
    first_frame = True


def _shown(found: Any) -> list[tuple[Any, ...]]:
    """What is where in a frame, in cells."""
    return sorted((str(s.shape), str(s.colour), *(round(c / 4) for c in s.centre)) for s in found)
