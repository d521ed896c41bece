"""How the pipeline of a policy is called, as its users call it, for checks against diffusers."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from grpo.policies.policy import Policy
from rewardkit.generators.arguments import call_arguments, text_arguments
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.noise import generator
from rewardkit.generators.references import KEY, read_references
from rewardkit.generators.requests import Request
from rewardkit.media.batch import Clip, Medium
from rewardkit.media.images import read_image, to_pil, write_image
from rewardkit.media.prompts import PromptLine

#: Prompts of different lengths, one of them twice.
PROMPTS = ("a red ring", "two blue boxes", "a red ring")
SEEDS = (3, 5, 7)


def generators() -> list[torch.Generator]:
    """A generator for each of the lines."""
    return [torch.Generator().manual_seed(seed) for seed in SEEDS]


def lines() -> list[PromptLine]:
    """The prompts, each with a picture of its own, for tasks that start from one."""
    folder = Path(_pictures().name)
    return [
        PromptLine("", prompt, {KEY: f"{place}.png"}, folder)
        for place, prompt in enumerate(PROMPTS)
    ]


@cache
def _pictures() -> TemporaryDirectory[str]:
    """A folder of pictures, which is there until the process ends."""
    folder = TemporaryDirectory()
    for place in range(len(PROMPTS)):
        noise = torch.rand(3, 4, 5, generator=generator(place))
        large = torch.nn.functional.interpolate(noise[None], (48, 60), mode="bilinear")
        write_image(large[0].mul(255).to(torch.uint8), Path(folder.name) / f"{place}.png")
    return folder


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


def sampled(
    pipe: Any, policy: Policy, steps: int, prompts: Mapping[str, Any], **options: object
) -> tuple[list[Any], Tensor]:
    """What a pipeline's call makes of the lines, and the latents at the end of its loop.

    The call itself may return other latents: some pipelines change them after the loop.

    Args:
        pipe: the policy's, or another one of its class.
        policy: gives the protocol, but for its number of steps.
        steps: number of inference steps.
        prompts: `texts`, or the embeddings of the lines, by the arguments of the call.
        options: further arguments of the call.
    """
    family = FAMILIES[type(pipe).__name__]
    protocol = policy.protocol.model_copy(update={"steps": steps})
    references = [read_references(line, family) for line in lines()]
    # A call takes the same picture for all its prompts.
    parts = [slice(i, i + 1) for i in range(len(SEEDS))] if any(references) else [slice(None)]
    made: list[Any] = []
    ends: list[Tensor] = []
    for part in parts:
        walked: list[Tensor] = []

        def keep(
            pipe: Any, step: int, timestep: Any, tensors: dict[str, Tensor], walked: Any = walked
        ) -> dict[str, Tensor]:
            walked.append(tensors["latents"])
            return {}

        (output, *_) = pipe(
            generator=generators()[part],
            callback_on_step_end=keep,
            return_dict=False,
            **{name: values[part] for name, values in prompts.items()},
            **{
                family.references[name]: to_pil(picture)
                for name, picture in references[part][0].items()
            },
            **call_arguments(pipe, protocol),
            **options,
        )
        made += list(output)
        ends.append(walked[-1])
    return made, torch.cat(ends)


def texts(policy: Policy) -> dict[str, Any]:
    """The texts that the pipeline's call is given."""
    requests = [Request(line.prompt, seed) for line, seed in zip(lines(), SEEDS, strict=True)]
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
