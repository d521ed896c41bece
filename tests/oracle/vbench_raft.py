"""The golden file of dynamic-degree.raft by VBench's own code; the argument is its clone.

VBench's class and its RAFT run as they are, with the random weights of `golden.raft` under VBench's
names.
"""

from __future__ import annotations

import subprocess
import sys
import types
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
import torchvision
from golden.cases import Case, Golden
from golden.media import render
from golden.raft import random_raft

from rewardkit.weights.nets.raft import renamed

checkout = Path(sys.argv[1])
commit = subprocess.check_output(["git", "-C", checkout, "rev-parse", "HEAD"], text=True).strip()
for name, attributes in {
    "vbench": {"__path__": [str(checkout / "vbench")]},
    "vbench.utils": {"load_dimension_info": None},
    "easydict": {"EasyDict": dict},
}.items():
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(attributes)
from vbench import dynamic_degree
from vbench.third_party.RAFT.core.raft import RAFT


def upstream() -> torch.nn.Module:
    """VBench's network with the weights of ours."""
    network = RAFT(Namespace(small=False, mixed_precision=False, alternate_corr=False)).eval()
    ours = random_raft().state_dict()
    # VBench names the norm of a shortcut twice.
    names = {name: name.replace("norm3", "downsample.1") for name in network.state_dict()}
    network.load_state_dict({name: ours[_new(names[name])] for name in names})
    return network


def _new(name: str) -> str:
    """The name of a tensor of VBench's in torchvision."""
    *_, found = renamed({"fnet.": torch.empty(0), name: torch.empty(0)})
    return found


def speed(network: torch.nn.Module, medium: dict[str, object]) -> float:
    """The speed that decides, in units of VBench's threshold."""
    clip = render(medium)
    scorer = dynamic_degree.DynamicDegree.__new__(dynamic_degree.DynamicDegree)
    scorer.model = network
    speeds: list[float] = []
    get_score = scorer.get_score

    def remember(frame: torch.Tensor, flow: torch.Tensor) -> float:
        speeds.append(get_score(frame, flow))
        return speeds[-1]

    frames = [frame.float()[None] for frame in clip.frames]
    kept = scorer.extract_frame(frames, max(1, round(clip.fps / 8)))
    scorer.get_frames = lambda path: kept
    scorer.get_score = remember
    moves = scorer.infer("clip.mp4")
    found = sorted(speeds)[-scorer.params["count_num"]] / scorer.params["thres"]
    assert moves == (found > 1)
    return found


def clip(seed: int, size: tuple[int, int], **motion: object) -> dict[str, object]:
    return {"kind": "clip", "seed": seed, "size": size, **motion}


CLIPS = [
    clip(0, (128, 128), frames=3),
    clip(1, (131, 140), frames=5, fps=16.0, velocity=(1.5, -1.0)),
    clip(2, (136, 125), frames=3, velocity=(5.0, 2.0)),
]

if __name__ == "__main__":
    network = upstream()
    Golden(
        reward="dynamic-degree.raft",
        upstream=f"Vchitect/VBench@{commit} vbench/dynamic_degree.py",
        command="PYTHONPATH=.:tests python tests/oracle/vbench_raft.py CLONE",
        versions={
            "numpy": np.__version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        cases=[Case(medium=medium, score=speed(network, medium), atol=0.05) for medium in CLIPS],
    ).write()
