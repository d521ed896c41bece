"""Any prompts, any rewards: what a model scores on a list of one's own, or on a public one."""

from __future__ import annotations

from benchmarks.benchmark import Benchmark, register
from benchmarks.layout import NUMBERED

register(
    Benchmark(
        name="prompts",
        version="1",
        about="Any list of prompts by any rewards: --prompts FILE|drawbench|parti|pick-a-pic-test",
        prompts=None,
        rewards=None,
        headline="items",
        samples=1,
        layout=NUMBERED,
        pictures="prompts",
        unit="of the reward",
        notes=(
            "The key `tag` of a prompt's line names the task it belongs to.",
            "Results of other prompts or rewards are results of another benchmark.",
        ),
    )
)
