"""VideoAlign's scores of a model's clips, on TA-Hard, VBench's prompts or any others.

Source: https://arxiv.org/abs/2501.13918; DanceGRPO's table of video models has the same three
scores, https://arxiv.org/abs/2505.07818.
"""

from __future__ import annotations

from benchmarks.benchmark import Benchmark, register
from benchmarks.layout import NUMBERED

register(
    Benchmark(
        name="videoalign",
        version="1",
        about="VideoAlign's quality, motion and alignment of clips: --prompts FILE|ta-hard|vbench",
        task="text-to-video",
        prompts=None,
        rewards="+".join(f"videoalign.{tag}" for tag in ("overall", "vq-raw", "mq-raw", "ta-raw")),
        samples=1,
        layout=NUMBERED,
        media="video-prompts",
        unit="standard deviations",
        paper="https://arxiv.org/abs/2501.13918",
        notes=(
            "Models are ranked by videoalign.overall, the sum of the three normalised scores. The "
            "three are reported on the network's own scale, on which DanceGRPO prints VQ and MQ.",
            "DanceGRPO does not say on which prompts its table was measured.",
            "Clips are judged at the rate they were made with: compare models at one rate and "
            "length.",
            "The key `tag` of a prompt's line names the task it belongs to, or lists several.",
            "Results on other prompts cannot be compared.",
        ),
    )
)
