"""A training step beside the bare calls it has to make, in turn in one run: `make perf-train`.

Bare calls are those of the networks, at the shapes and in the number that the step makes them, the
updates of the weights, and the judge's reading of the pictures. What the step takes longer is the
trainer's own.
"""

from __future__ import annotations

import statistics
import sys
import time
from copy import deepcopy
from itertools import pairwise

import torch
from torch import Tensor

from grpo import policies
from grpo.config.resolve import resolve
from grpo.objectives.forward_process import ForwardProcess
from grpo.rewards import Rewards
from grpo.trainer import Trainer
from rewardkit.generators.pipelines import load
from rewardkit.media.prompts import PromptLine, read
from rewardkit.shapes.detect import detect
from rewardkit.shapes.judge import correct
from rewardkit.shapes.prompts import parse

PHASES = ("rollout", "reward", "update")
DANCE = {"reward": "shapes-correct", "sampler.steps": 8}


class Seen(Rewards):
    """Rewards that keep the pictures they were last given, for the bare judge to read."""

    def __call__(self, media, *rest):
        self.media = media
        return super().__call__(media, *rest)


def trainer(method: str, **settings: object) -> Trainer:
    """Of the embedded flow, 8 prompts with 12 samples each, 48 to a call, all weights."""
    asked = {
        "model": "shapes-flow",
        "steps": 1000,  # more than are timed; only the learning rate depends on it
        "prompts": "package:rewardkit.shapes/lists/train.jsonl",
        "sampler.prompts_per_step": 8,
        "sampler.group_size": 12,
        "sampler.batch_size": 48,
        "policy.parameters": "full",
        "policy.ema": "none",
    }
    recipe = "shapes-flow" if method == "nft" else None
    config = resolve(recipe, method, asked | settings).config
    policy = policies.of(load(config.model, device="cpu"), config)
    return Trainer(config, policy, Seen(config.reward, "cpu"), read(config.prompts))


class Bare:
    """The calls of a trainer's step, on a copy of its network."""

    def __init__(self, of: Trainer) -> None:
        self.config, self.pipe = of.config, of.policy.pipeline.diffusers
        self.forward_process = isinstance(of.objective, ForwardProcess)
        self.network = deepcopy(of.policy.network)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-6)
        self.x = torch.randn(self.config.sampler.batch_size, *of.policy.shape)
        inputs = of.policy.encode([PromptLine("", "a red ring")]).per_sample
        self.inputs = {
            name: tensor[0].repeat(len(self.x), *[1] * (tensor.ndim - 2))
            for name, tensor in inputs.items()
        }

    def __call__(self, lines: list[PromptLine], media: list[Tensor], rows: int) -> list[float]:
        """Seconds per phase, of a step that drew `media` and trains on so many samples."""
        times = [time.perf_counter()]
        self.rollout([line.prompt for line in lines])
        times.append(time.perf_counter())
        found = detect(torch.stack(media).numpy())
        size = self.config.sampler.group_size
        asked = [line.prompt for line in lines for _ in range(size)]
        [correct(parse(prompt), things) for prompt, things in zip(asked, found, strict=True)]
        times.append(time.perf_counter())
        self.update(rows)
        times.append(time.perf_counter())
        return [end - start for start, end in pairwise(times)]

    @torch.no_grad()
    def rollout(self, prompts: list[str]) -> None:
        self.pipe.encode_prompt(
            prompts, None, None, do_classifier_free_guidance=False, max_sequence_length=0
        )
        sampler = self.config.sampler
        for part in torch.arange(len(prompts) * sampler.group_size).split(sampler.batch_size):
            for _ in range(sampler.steps):
                self.forward(len(part))
            self.pipe.vae.decode(self.x[: len(part)], return_dict=False)

    def update(self, rows: int) -> None:
        updates = min(self.config.objective.updates, rows)
        for part in torch.arange(rows).tensor_split(updates):
            for batch in part.split(self.config.sampler.batch_size):
                for _ in range(self.config.objective.steps_trained(self.config.sampler)):
                    output = self.forward(len(batch))
                    if self.forward_process:
                        with torch.no_grad():
                            self.forward(len(batch))
                    output.square().mean().backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def forward(self, samples: int) -> Tensor:
        inputs = {name: tensor[:samples] for name, tensor in self.inputs.items()}
        timesteps = torch.full((samples,), 500.0)
        return self.network(self.x[:samples], timestep=timesteps, return_dict=False, **inputs)[0]


def compare(name: str, of: Trainer, rounds: int) -> None:
    bare, pairs = Bare(of), []
    size, groups = of.config.sampler.group_size, of.config.sampler.prompts_per_step
    for index in range(rounds + 1):
        start = time.perf_counter()
        figures = of.step(index)
        whole = time.perf_counter() - start
        trained = (groups - int(figures.values["groups_dropped"])) * size
        theirs = bare(of.choose(index), of.rewards.media, trained)
        ours = [figures.seconds[phase] for phase in PHASES]
        pairs.append(([*ours, whole], [*theirs, sum(theirs)]))
    print(f"  {name}")
    for place, phase in enumerate((*PHASES, "step")):
        timed = [(ours[place], theirs[place]) for ours, theirs in pairs[1:]]  # the first warms up
        a, b = (statistics.median(column) for column in zip(*timed, strict=True))
        ratio = statistics.median(x / y for x, y in timed)
        print(f"    {phase:8}{a:8.3f} s, bare{b:8.3f} s: {ratio:5.2f} x", flush=True)


def main() -> None:
    rounds = int(sys.argv[1])
    print(
        f"shapes-flow, 8 prompts with 12 samples, CPU, {torch.get_num_threads()} threads, "
        f"median of {rounds}"
    )
    compare("nft, as the recipe has it", trainer("nft"), rounds)
    compare("dance-grpo, 8 steps", trainer("dance-grpo", **DANCE), rounds)


if __name__ == "__main__":
    main()
