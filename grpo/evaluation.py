"""Evaluation of the policy on held-out prompts, with its own sampler and fixed seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from grpo.policies.embeddings import REMEMBERED
from grpo.policies.policy import Policy
from grpo.rewards import Rewards
from grpo.shares import cut
from rewardkit.generators import pipelines
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.noise import sample_seed
from rewardkit.generators.protocol import Protocol
from rewardkit.generators.references import read_references
from rewardkit.generators.requests import Request
from rewardkit.media.batch import Clip, Medium
from rewardkit.media.clips import write_clip
from rewardkit.media.images import save_picture
from rewardkit.media.prompts import PromptLine
from rewardkit.media.sheets import contact_sheet, playing_sheet
from rewardkit.records.storage import atomic_write


class Evaluation:
    """Held-out prompts, sampled as the pipeline samples: the first samples of a benchmark.

    With as many samples of each prompt, they are all of its pictures, under its seeds.

    Args:
        policy: whose pipeline is sampled; training noise and rule play no part.
        rewards: what is measured: the training reward, or any other.
        lines: the prompts; they are taken in turn until there are `samples`.
        samples: how many.
        protocol: the policy's, but for its number of steps.
        batch_size: samples per model call.
    """

    def __init__(
        self,
        policy: Policy,
        rewards: Rewards,
        lines: Sequence[PromptLine],
        samples: int,
        protocol: Protocol,
        batch_size: int,
    ) -> None:
        self.policy, self.rewards = policy, rewards
        self.protocol = protocol
        self.lines, seeds = in_turn(lines, samples)
        family = FAMILIES[type(policy.pipeline.diffusers).__name__]
        self._requests = [
            Request(line.prompt, seed, read_references(line, family))
            for line, seed in zip(self.lines, seeds, strict=True)
        ]
        self._batches = cut(samples, batch_size)

    def __call__(self, shown: int = 0) -> tuple[dict[str, Tensor], list[Medium | None]]:
        """Scores by reward, float32 `[samples]`, and the media.

        Args:
            shown: how many of the first media the first process needs. Of several processes each
                samples a share, and the media of others are None.
        """
        shares = self.policy.world.deal(self._batches)
        media: list[Medium | None] = [None] * len(self._requests)
        size = len(self._batches[0])
        order = [index for batch, _ in shares.mine for index in batch]
        made = generate(self.policy, [self._requests[i] for i in order], self.protocol, size)
        for index, medium in zip(order, made, strict=True):
            media[index] = medium
        scores = self.rewards(media, self.lines, 1, shares)
        pictures = shares.move(media, dict.fromkeys(range(shown), (0,)))
        return {name: values.flatten() for name, values in scores.items()}, pictures


def generate(
    policy: Policy, requests: Sequence[Request], protocol: Protocol, batch_size: int
) -> list[Medium]:
    """The media that a policy's pipeline makes for requests with its current weights, on the CPU.

    Args:
        policy: remembers the embeddings of the prompts.
        requests: see `rewardkit.generators.pipelines.generate`.
        protocol: the policy's, but for its number of steps.
        batch_size: requests sampled at once.

    Raises:
        WeightsError: an embedding or a medium is not finite.
    """

    def embed(batch: Sequence[Request]) -> dict[str, Any]:
        return policy.call_arguments(policy.embed([request.prompt for request in batch]))

    media: list[Medium] = []
    # Whole batches, so that a sample's batch does not depend on how much is remembered.
    # The negative prompt is remembered too: one more would be embedded again by each batch.
    size = max((REMEMBERED - 1) // batch_size, 1) * batch_size
    for start in range(0, len(requests), size):
        part = requests[start : start + size]
        policy.remember(request.prompt for request in part)
        with policy.autocast(), policy.offloaded():
            media += pipelines.generate(
                policy.pipeline, part, protocol=protocol, batch_size=batch_size, embed=embed
            )
    return media


def in_turn(
    lines: Sequence[PromptLine], number: int, seed: int = 0
) -> tuple[list[PromptLine], list[int]]:
    """`number` requests: the prompts in turn, repeated as needed, with a seed each."""
    turns = [divmod(i, len(lines)) for i in range(number)]
    seeds = [sample_seed(seed, prompt, sample) for sample, prompt in turns]
    return [lines[prompt] for _, prompt in turns], seeds


def write_sheet(
    path: Path, media: Sequence[Medium], captions: Sequence[str], columns: int = 5
) -> None:
    """Write a contact sheet of `media`; of clips, also one that plays, as an mp4 beside it."""
    sheet = contact_sheet(media, captions, columns=columns)
    with atomic_write(path) as temporary:
        save_picture(sheet, temporary)
    if any(isinstance(medium, Clip) for medium in media):
        with atomic_write(path.with_suffix(".mp4")) as temporary:
            write_clip(playing_sheet(media, captions, columns=columns), temporary)


def summary(scores: dict[str, Tensor]) -> dict[str, float]:
    """Mean and standard error of each reward."""
    figures = {}
    for name, values in scores.items():
        figures[f"eval/{name}"] = float(values.mean())
        figures[f"eval_error/{name}"] = float(values.std() / len(values) ** 0.5)
    return figures
