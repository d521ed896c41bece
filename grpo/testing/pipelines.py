"""How the pipeline of a policy is called, as its users call it, for checks against diffusers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image

from grpo.policies.policy import Policy
from rewardkit.generators.arguments import call_arguments, text_arguments
from rewardkit.generators.requests import Request
from rewardkit.media.batch import Clip, Medium
from rewardkit.media.images import read_image
from rewardkit.media.prompts import PromptLine

#: Prompts of different lengths, one of them twice.
LINES = [PromptLine("", text) for text in ("a red ring", "two blue boxes", "a red ring")]
SEEDS = (3, 5, 7)


def generators() -> list[torch.Generator]:
    """A generator for each of `LINES`."""
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def first_order(pipe: Any) -> Any:
    """The first-order scheduler of diffusers with the settings of the pipeline's own."""
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

    settings, own = pipe.scheduler.config, type(pipe.scheduler)
    if isinstance(pipe.scheduler, FlowMatchEulerDiscreteScheduler):
        return own.from_config(settings)
    if settings.get("use_flow_sigmas"):  # without its corrector, UniPC of order 1 is Euler's steps
        never = list(range(settings.num_train_timesteps))
        return own.from_config(settings, solver_order=1, disable_corrector=never)
    ddim: Any = DDIMScheduler
    return ddim.from_config(settings, clip_sample=False)  # latents have no bounds to clip them to


def arguments(policy: Policy, steps: int) -> dict[str, Any]:
    """What the pipeline's call is given beside the texts."""
    own = call_arguments(policy.pipeline.diffusers, policy.protocol)
    return {**own, "num_inference_steps": steps, "generator": generators()}


def texts(policy: Policy) -> dict[str, Any]:
    """The texts that the pipeline's call is given."""
    requests = [Request(line.prompt, seed) for line, seed in zip(LINES, SEEDS, strict=True)]
    return text_arguments(policy.protocol, requests)


@contextmanager
def sampled_with(pipe: Any, scheduler: Any) -> Iterator[None]:
    """Inside the block, the pipeline has this scheduler, and decodes its samples one by one."""
    own, pipe.scheduler = pipe.scheduler, scheduler
    pipe.vae.enable_slicing()  # in a batch, last bits may differ
    try:
        yield
    finally:
        pipe.scheduler = own
        pipe.vae.disable_slicing()


def same_pixels(medium: Medium, made: Any) -> None:
    """A medium is what the pipeline made: a picture of PIL, or a clip's list of them."""
    frames, pictures = (medium.frames, made) if isinstance(medium, Clip) else ([medium], [made])
    for frame, picture in zip(frames, pictures, strict=True):
        file = io.BytesIO()
        picture.save(file, "PNG")
        assert torch.equal(frame, read_image(Image.open(file))), "pixels are not a saved file's"
