"""Rollout and update beside DanceGRPO's and Flow-GRPO's own: `make perf-train-upstream`.

The arguments are clones of XueZeyue/DanceGRPO and yifan123/flow_grpo, whose sampling steps, losses
and loops run as they are, on the same transformer, with as many steps, trained steps and updates,
all weights, AdamW. Distribution, rewards, logging and files are left out on their side.
"""

from __future__ import annotations

import importlib
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import torch
from accelerate import Accelerator
from oracle.upstream import function, passage
from torch import Tensor, nn
from training import trainer

from rewardkit.media.prompts import PromptLine

STEPS, GROUPS, SIZE, DANCE_UPDATES, FLOW_UPDATES = 8, 8, 12, 3, 2
PROMPT = "a red ring left of a blue cross"
dance, flow = map(Path, sys.argv[2:])
FLUX = dance / "fastvideo/train_grpo_flux.py"
SD3 = flow / "scripts/train_sd3.py"
sys.path.insert(0, str(flow))
sde = importlib.import_module("flow_grpo.diffusers_patch.sd3_sde_with_logprob")
sampling = importlib.import_module("flow_grpo.diffusers_patch.sd3_pipeline_with_logprob")

flux_step = function(FLUX, "flux_step", torch=torch, math=math)
run_sample_step = function(FLUX, "run_sample_step", torch=torch, flux_step=flux_step)
grpo_one_step = function(FLUX, "grpo_one_step", torch=torch, flux_step=flux_step)
time_shift = function(FLUX, "sd3_time_shift")
dance_updates = passage(FLUX, "train_timesteps = int(", "dist.barrier()")
compute_log_prob = function(
    SD3, "compute_log_prob", torch=torch, sde_step_with_logprob=sde.sde_step_with_logprob
)
flow_updates = passage(SD3, "train_timesteps = [step_index", "optimizer.zero_grad()")


class AsFlux(nn.Module):
    """Stable Diffusion 3's transformer, called as DanceGRPO calls FLUX's under FSDP."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, hidden_states, timestep, encoder_hidden_states, pooled_projections, **_):
        return self.network(
            hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            pooled_projections=pooled_projections,
            timestep=timestep * 1000,
            return_dict=False,
        )

    def clip_grad_norm_(self, limit: float) -> Tensor:
        return nn.utils.clip_grad_norm_(self.parameters(), limit)


class DanceGrpo:
    """DanceGRPO's way on that transformer: its own batches are of one, its text is precomputed."""

    def __init__(self, drawn: int, trained: int) -> None:
        self.drawn, self.trained = drawn, trained
        policy = trainer("dance-grpo", reward="sharpness", **{"sampler.steps": STEPS}).policy
        self.pipe, self.network = policy.pipeline.diffusers, AsFlux(policy.network)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-5, weight_decay=1e-4)
        condition = policy.encode([PromptLine("", PROMPT)])
        self.text = {name: tensor[0] for name, tensor in condition.per_sample.items()}
        self.shape = policy.shape
        self.sigmas = time_shift(3.0, torch.linspace(1, 0, STEPS + 1))

    def __call__(self) -> int:
        number = GROUPS * SIZE
        noise = torch.randn(1, *self.shape)
        drawn = [self.draw(noise, len(p)) for p in torch.arange(number).split(self.drawn)]
        latents, logs = (torch.cat(column) for column in zip(*drawn, strict=True))
        batches = torch.arange(number).split(self.trained)
        # The samples of a batch share their order: its step takes one index for all.
        perms = [torch.randperm(STEPS - 1) for _ in batches]
        timesteps = torch.tensor([int(sigma * 1000) for sigma in self.sigmas[: STEPS - 1]])
        samples = [
            {
                "latents": latents[batch][:, order],
                "next_latents": latents[batch][:, order + 1],
                "log_probs": logs[batch][:, order],
                "timesteps": timesteps[order].repeat(len(batch), 1),
                "advantages": torch.randn(len(batch)),
                "image_ids": torch.zeros(1),
                **self.conditions(len(batch)),
            }
            for batch, order in zip(batches, perms, strict=True)
        ]
        space = {
            "samples": {"timesteps": timesteps[None]},
            "samples_batched_list": samples,
            "perms": perms,
            "sigma_schedule": self.sigmas,
            "transformer": self.network,
            "optimizer": self.optimizer,
            "lr_scheduler": SimpleNamespace(step=lambda: None),
            "max_grad_norm": 1.0,
            "total_loss": 0.0,
            "torch": torch,
            "grpo_one_step": grpo_one_step,
            "args": SimpleNamespace(
                timestep_fraction=0.6,
                clip_range=1e-4,
                adv_clip_max=5.0,
                eta=0.3,
                gradient_accumulation_steps=len(batches) // DANCE_UPDATES,
            ),
            "dist": SimpleNamespace(
                all_reduce=lambda *_, **__: None,
                ReduceOp=SimpleNamespace(AVG=None),
                get_rank=lambda: 1,
                barrier=lambda: None,
            ),
        }
        exec(dance_updates, space)
        return number

    def conditions(self, number: int) -> dict[str, Tensor]:
        return {
            "encoder_hidden_states": self.text["encoder_hidden_states"].repeat(number, 1, 1),
            "pooled_prompt_embeds": self.text["pooled_projections"].repeat(number, 1),
            "text_ids": torch.zeros(number, 3),
        }

    @torch.no_grad()
    def draw(self, noise: Tensor, number: int) -> tuple[Tensor, Tensor]:
        _, clean, latents, logs = run_sample_step(
            SimpleNamespace(eta=0.3),
            noise.repeat(number, 1, 1, 1),
            range(STEPS),
            self.sigmas,
            self.network,
            image_ids=torch.zeros(1),
            grpo_sample=True,
            **self.conditions(number),
        )
        settings = self.pipe.vae.config
        clean = clean / settings.scaling_factor + settings.shift_factor
        self.pipe.image_processor.postprocess(self.pipe.vae.decode(clean, return_dict=False)[0])
        return latents, logs


class FlowGrpo:
    """Flow-GRPO's way on that transformer; its own batches are of nine."""

    def __init__(self, batch: int) -> None:
        self.batch, self.batches = batch, GROUPS * SIZE // batch // FLOW_UPDATES * FLOW_UPDATES
        policy = trainer("flow-grpo", reward="sharpness", **FLOW).policy
        self.pipe = policy.pipeline.diffusers
        accumulated = self.batches // FLOW_UPDATES * (STEPS - 1)
        self.accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulated)
        optimizer = torch.optim.AdamW(policy.network.parameters(), lr=3e-4, weight_decay=1e-4)
        self.network, self.optimizer = self.accelerator.prepare(policy.network, optimizer)
        self.config = SimpleNamespace(
            sample=SimpleNamespace(noise_level=0.7),
            train=SimpleNamespace(
                cfg=False, beta=0, adv_clip_max=5, clip_range=1e-4, max_grad_norm=1.0
            ),
        )

    def __call__(self) -> int:
        samples = [self.draw() for _ in range(self.batches)]
        samples = {key: torch.cat([one[key] for one in samples]) for key in samples[0]}
        order = torch.randperm(len(samples["log_probs"]))
        shuffled = {key: value[order] for key, value in samples.items()}
        for i in range(self.batches):
            sample = {k: v[i * self.batch : (i + 1) * self.batch] for k, v in shuffled.items()}
            space = {
                "i": i,
                "sample": sample,
                "embeds": sample["prompt_embeds"],
                "pooled_embeds": sample["pooled_prompt_embeds"],
                "num_train_timesteps": STEPS - 1,
                "tqdm": lambda steps, **_: steps,
                "info": defaultdict(list),
                "autocast": nullcontext,
                "transformer": self.network,
                "pipeline": self.pipe,
                "accelerator": self.accelerator,
                "optimizer": self.optimizer,
                "config": self.config,
                "torch": torch,
                "compute_log_prob": compute_log_prob,
            }
            exec(flow_updates, space)
        return len(order)

    @torch.no_grad()
    def draw(self) -> dict[str, Tensor]:
        states, _, pooled, _ = self.pipe.encode_prompt(
            [PROMPT] * self.batch,
            None,
            None,
            do_classifier_free_guidance=False,
            max_sequence_length=0,
        )
        _, latents, logs = sampling.pipeline_with_logprob(
            self.pipe,
            prompt_embeds=states,
            pooled_prompt_embeds=pooled,
            num_inference_steps=STEPS,
            guidance_scale=1.0,
            output_type="pt",
            height=32,
            width=32,
            noise_level=self.config.sample.noise_level,
        )
        latents, logs = torch.stack(latents, dim=1), torch.stack(logs, dim=1)
        return {
            "latents": latents[:, :-1],
            "next_latents": latents[:, 1:],
            "log_probs": logs,
            "timesteps": self.pipe.scheduler.timesteps.repeat(self.batch, 1),
            "advantages": torch.randn(self.batch, 1).expand(-1, STEPS),
            "prompt_embeds": states,
            "pooled_prompt_embeds": pooled,
        }


FLOW = {"sampler.steps": STEPS, "objective.kl": 0.0, "objective.updates": FLOW_UPDATES}


def ours(method: str, **settings: object) -> Callable[[], float]:
    """Seconds per sample of a step's rollout and update; no group of this reward is dropped."""
    one, steps = trainer(method, reward="sharpness", **settings), iter(range(1000))

    def timed() -> float:
        figures = one.step(next(steps))
        assert figures.values["groups_dropped"] == 0
        return (figures.seconds["rollout"] + figures.seconds["update"]) / (GROUPS * SIZE)

    return timed


def theirs(way: Callable[[], int]) -> Callable[[], float]:
    """Seconds per sample of upstream's rollout and update."""

    def timed() -> float:
        start = time.perf_counter()
        number = way()
        return (time.perf_counter() - start) / number

    return timed


def compare(mine: Callable[[], float], others: dict[str, Callable[[], int]], rounds: int) -> None:
    sides = [mine, *map(theirs, others.values())]
    rows = [[side() for side in sides] for _ in range(rounds + 1)][1:]  # the first warms up
    for place, name in enumerate(others, start=1):
        speed = [1 / statistics.median(row[side] for row in rows) for side in (0, place)]
        ratio = statistics.median(row[place] / row[0] for row in rows)
        print(f"  {name}: {speed[1]:.1f} samples/s, ours {speed[0]:.1f}: {ratio:.2f} x", flush=True)


def main() -> None:
    rounds = int(sys.argv[1])
    print(
        f"shapes-flow, {STEPS} steps, CPU, {torch.get_num_threads()} threads, median of {rounds}; "
        "ours / upstream, ours in batches of 48"
    )
    compare(
        ours("dance-grpo", **{"sampler.steps": STEPS}),
        {
            "DanceGRPO, one by one as its script": DanceGrpo(1, 1),
            "DanceGRPO, batches of 48 drawn, of 32 trained": DanceGrpo(48, 32),
        },
        rounds,
    )
    compare(
        ours("flow-grpo", **FLOW),
        {
            "Flow-GRPO, batches of 9 as its script": FlowGrpo(9),
            "Flow-GRPO, batches of 48": FlowGrpo(48),
        },
        rounds,
    )


if __name__ == "__main__":
    main()
