"""Golden file of DanceGRPO's loop on a tiny FLUX.1; the argument is a clone of XueZeyue/DanceGRPO.

Its loops over steps, in sampling and in training, run as they are, with the noise of our rollout in
place of `torch.randn_like`.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import diffusers
import torch
from golden import dance_flux
from golden.calls import Calls, call
from upstream import commit, function

from rewardkit.generators.noise import generator

torch.set_num_threads(1)
clone = Path(sys.argv[1])
FLUX = clone / "fastvideo/train_grpo_flux.py"
config = dance_flux.config()
policy = dance_flux.policy(Path(tempfile.mkdtemp()))
pack = function(FLUX, "pack_latents", torch=torch)
image_ids = function(FLUX, "prepare_latent_image_ids", torch=torch)
time_shift = function(FLUX, "sd3_time_shift")


def with_noise(noise: Iterator[torch.Tensor]) -> ModuleType:
    """Torch, whose `randn_like` gives these."""
    ours = ModuleType("torch")
    ours.__dict__.update(torch.__dict__)
    ours.randn_like = lambda like: next(noise).view_as(like)
    return ours


def rollout(prompt: str) -> dict[str, torch.Tensor]:
    steps, group = config.sampler.steps, dance_flux.GROUP
    latent, tokens = dance_flux.SIZE // 4, dance_flux.SIZE // 8
    shared = torch.randn(1, 4, latent, latent, generator=generator(*dance_flux.KEYS, 0, 0))
    z = pack(shared, 1, 4, latent, latent).repeat(group, 1, 1)
    sources = [generator(*dance_flux.KEYS, 1, 0, sample) for sample in range(group)]
    noise = (
        torch.stack([torch.randn(z.shape[1:], generator=source) for source in sources])
        for _ in range(steps)
    )
    torch_ = with_noise(noise)
    flux_step = function(FLUX, "flux_step", torch=torch_, math=math)
    sample_step = function(FLUX, "run_sample_step", torch=torch, flux_step=flux_step)
    train_step = function(FLUX, "grpo_one_step", torch=torch, flux_step=flux_step)
    text = policy.encode([dance_flux.line(prompt)] * group).per_sample
    sigmas = time_shift(config.sampler.shift, torch.linspace(1, 0, steps + 1))
    given = {
        "args": SimpleNamespace(eta=config.sampler.noise_level),
        "encoder_hidden_states": text["encoder_hidden_states"][0],
        "pooled_prompt_embeds": text["pooled_projections"][0],
        "text_ids": torch.zeros(1, 3),
        "image_ids": image_ids(1, tokens, tokens, "cpu", torch.float32),
        "sigma_schedule": sigmas,
        "transformer": policy.network,
    }
    with torch.no_grad():
        _, clean, states, logs = sample_step(
            z=z, progress_bar=range(steps), grpo_sample=True, **given
        )
        replayed = [
            train_step(
                latents=states[:, i],
                pre_latents=states[:, i + 1],
                timesteps=torch.full([group], int(sigmas[i] * 1000)),
                i=i,
                **given,
            )
            for i in range(steps)
        ]
    policy.network.eval()
    return {
        "states": dance_flux.chosen(states),
        "clean": dance_flux.chosen(clean),
        "log_probs": logs,
        "replayed": torch.stack(replayed, dim=1),
    }


Calls(
    upstream=f"XueZeyue/DanceGRPO@{commit(clone)}",
    command="PYTHONPATH=.:tests python tests/oracle/dancegrpo_flux.py CLONE",
    versions={"torch": torch.__version__, "diffusers": diffusers.__version__},
    functions={
        "fastvideo/train_grpo_flux.py: run_sample_step, grpo_one_step": [
            call({"prompt": prompt}, rollout(prompt)) for prompt in dance_flux.PROMPTS
        ]
    },
).write("dancegrpo-flux")
