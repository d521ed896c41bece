"""Networks with random weights, made where they run: of true size, or tiny ones for a rehearsal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import full_size
import tiny_pipelines
import tiny_videos
import torch
from diffusers import DiffusionPipeline
from session import Session

from grpo import policies
from grpo.config.fields import Config
from grpo.rewards import Rewards
from grpo.trainer import Trainer
from rewardkit.engine.loader import Loader
from rewardkit.generators.pipelines import Pipeline
from rewardkit.generators.protocol import Protocol
from rewardkit.media.prompts import PromptLine
from rewardkit.weights.pins import Located

PROMPTS = ("a red ring", "two blue boxes", "a star left of a cross", "a photo of a cat")
FULL: dict[str, Callable[[Path], DiffusionPipeline]] = {
    "sd": full_size.sd14,
    "sd3": full_size.sd35_medium,
    "flux": full_size.flux_dev,
    "hunyuan-video": full_size.hunyuan_video,
}
TINY = tiny_pipelines.ALL | tiny_videos.ALL
#: Of pictures of true size; tiny ones are 32 x 32.
SIDE = 512


def size(session: Session, name: str) -> dict[str, Any]:
    """The size of what a pipeline makes; that of clips is DanceGRPO's."""
    if name != "hunyuan-video":
        side = 32 if session.tiny else SIDE
        return {"height": side, "width": side}
    side, frames = (16, 5) if session.tiny else (480, 53)
    return {"height": side, "width": side, "frames": frames, "fps": 8.0}


def pipeline(session: Session, name: str, dtype: torch.dtype = torch.bfloat16) -> Pipeline:
    """A pipeline in the memory of the device: "sd", "sd3", "flux" or "hunyuan-video"."""
    build = TINY[name] if session.tiny else FULL[name]
    with full_size.built_on(session.device, dtype):
        pipe: Any = build(session.home / "tokenizer")
    # Its tensors would be on the device, and those of a scheduler that is loaded are not.
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    pipe.vae.float()
    pipe.set_progress_bar_config(disable=True)
    guidance = {"sd": 5.0, "sd3": 1.0, "flux": 3.5, "hunyuan-video": 6.018}[name]
    protocol = Protocol(
        steps=4 if session.tiny else 20,
        guidance=guidance,
        max_sequence_length=None if name == "sd" else 16 if session.tiny else 256,
        **size(session, name),
    )
    names = {torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float32: "float32"}
    return Pipeline(pipe, f"random {name}", None, None, None, None, protocol, names[dtype])


def config(session: Session, name: str, **tables: dict[str, Any]) -> Config:
    """A run of one prompt with 16 samples, by DanceGRPO's clipped surrogate, a LoRA in bfloat16."""
    flow = name != "sd"
    sampler = {
        "rule": "dance" if flow else "ddim", "noise_level": 0.3 if flow else 1.0,
        "steps": 3 if session.tiny else 10, "prompts_per_step": 1,
        "group_size": 4 if session.tiny else 16,
        "batch_size": 8, **size(session, name),
        "max_sequence_length": (16 if session.tiny else 256) if flow else None,
    }  # fmt: skip
    lora = {"rank": 2, "alpha": 4} if session.tiny else {"rank": 32, "alpha": 64}
    defaults: dict[str, dict[str, Any]] = {
        "sampler": sampler,
        "objective": {"kind": "policy-gradient", "updates": 1},
        "policy": {"dtype": "bfloat16", "gradient_checkpointing": True, **lora},
        "optim": {"lr": 1e-5},
        "scoring": {"dtype": "bfloat16", "batch_size": 16},
    }
    merged = {key: value | tables.get(key, {}) for key, value in defaults.items()}
    return Config.model_validate(
        {
            "model": name,
            "reward": "hps.v2.1-frames" if name == "hunyuan-video" else "hps.v2.1",
            "prompts": "-",
            "steps": 100,
            "method": "none",
        }
        | merged
    )


def trainer(session: Session, name: str, **tables: dict[str, Any]) -> Trainer:
    """A trainer as `grpo train` makes it, of random networks."""
    asked = config(session, name, **tables)
    policy = policies.of(
        pipeline(session, name, getattr(torch, asked.policy.dtype)), asked, session.device
    )
    with random_weights(session.tiny):
        rewards = Rewards(asked.reward, str(session.device), asked.scoring)
    return Trainer(asked, policy, rewards, [PromptLine("", prompt) for prompt in PROMPTS])


@contextmanager
def random_weights(tiny: bool, drawn_on: torch.device | None = None) -> Iterator[None]:
    """Loaders fill networks with noise inside the block, and read no file.

    Args:
        tiny: whether networks are tiny ones.
        drawn_on: where the noise is drawn, which is other noise on every kind of device; None is
            the loader's own device.
    """
    build_on_device = Loader.module

    def module(loader: Loader, build: Callable[[], Any], weights: Any, *convert: Any) -> Any:
        # Whoever scores a folder records the file that it read.
        nowhere = Located(path=Path(__file__), source="random", revision=None, files={"": "random"})
        loader.located[weights.name] = nowhere
        if loader.tiny:
            return build_on_device(loader, build, weights, *convert)
        with torch.random.fork_rng(), torch.device(drawn_on or loader.device):
            torch.manual_seed(0)
            made = build()
        return loader.keep(made.eval().requires_grad_(False))

    make = Loader.__init__

    def begin(loader: Loader, *given: Any, **named: Any) -> None:
        make(loader, *given, **(named | ({"tiny": True} if tiny else {})))

    with patch.object(Loader, "module", module), patch.object(Loader, "__init__", begin):
        yield


def pictures(number: int, side: int = 256) -> list[torch.Tensor]:
    """Smooth random pictures, uint8 [3, side, side]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(number, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return list(smooth.clamp(0, 1).mul(255).to(torch.uint8))
