"""A rollout that is scored while it is drawn, beside one that is scored afterwards.

The reward waits, as the machine does while another device computes: for a batch, as long as one
takes to be drawn. Of N batches, 2 N of these times then become N + 1.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import grpo.overlap
from grpo import policies
from grpo.config.resolve import resolve
from grpo.rewards import Rewards
from grpo.trainer import Trainer
from rewardkit.generators.pipelines import load
from rewardkit.media.batch import Batch
from rewardkit.media.prompts import read

BATCHES, SIZE = 6, 8


class Waiting:
    """A judge that waits for every batch."""

    seconds = 0.0

    def __call__(self, batch: Batch) -> list[float]:
        time.sleep(self.seconds)
        return [float(medium.float().std()) for medium in batch.media]


def trainer(judge: Waiting) -> Trainer:
    """Of the embedded flow, `BATCHES` prompts with `SIZE` samples each, a prompt to a batch."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "judge.py")
        file.write_text("def score(batch): ...", "utf-8")
        asked = {
            "model": "shapes-flow",
            "prompts": "package:rewardkit.shapes/lists/train.jsonl",
            "reward": f"{file}:score",
            "sampler.steps": 8,
            "sampler.prompts_per_step": BATCHES,
            "sampler.group_size": SIZE,
            "sampler.batch_size": SIZE,
            "scoring.batch_size": SIZE,
        }
        config = resolve(None, "dance-grpo", asked).config
        policy = policies.of(load(config.model, device="cpu"), config)
        made = Trainer(config, policy, Rewards(config.reward, "cpu"), read(config.prompts))
    (reward,) = made.rewards.scorer.rewards.values()
    reward._function = judge
    made.update = lambda *_: None  # what follows is the same
    return made


def main() -> None:
    rounds, judge = int(sys.argv[1]), Waiting()
    of = trainer(judge)
    of.step(0)  # warms up
    judge.seconds = of.step(1).seconds["rollout"] / BATCHES
    ratios = []
    for index in range(2, 2 + rounds):
        seconds = []
        for beside in (False, True):
            grpo.overlap.beside = lambda rewards, policy, beside=beside: beside
            spent = of.step(index).seconds
            seconds.append(spent["rollout"] + spent["reward"])
        ratios.append(seconds[0] / seconds[1])
    print(
        f"a rollout of {BATCHES} batches, each {judge.seconds:.3f} s to draw and as long to score: "
        f"{statistics.median(ratios):.2f} x as fast scored meanwhile as scored afterwards "
        f"(at best {2 * BATCHES / (BATCHES + 1):.2f}), median of {rounds}"
    )


if __name__ == "__main__":
    main()
