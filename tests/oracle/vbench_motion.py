"""Golden files of VBench's rules by its own code; the argument is a clone of Vchitect/VBench.

temporal-stability is VBench's number. For dynamic-degree VBench's class runs as it is, except that
DIS flow stands where its RAFT network would: sampling, pooling and counting are upstream's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import types
from pathlib import Path

import cv2
import numpy as np
import torch
from golden.cases import Case, Golden
from golden.media import render

checkout = Path(sys.argv[1])
commit = subprocess.check_output(["git", "-C", checkout, "rev-parse", "HEAD"], text=True).strip()


def stand_in(name: str, **attributes: object) -> None:
    """A module with nothing but `attributes`, for what upstream imports and never uses here."""
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(attributes)


class Unpadded:
    """RAFT's InputPadder for sizes that are multiples of 8, where it pads nothing."""

    def __init__(self, shape: torch.Size) -> None:
        assert shape[-1] % 8 == 0
        assert shape[-2] % 8 == 0

    def pad(self, *frames: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return frames


def dis_flow(image1: torch.Tensor, image2: torch.Tensor, **_: object) -> tuple[None, torch.Tensor]:
    """DIS flow with the signature of RAFT's forward."""
    grey = [
        cv2.cvtColor(image[0].permute(1, 2, 0).byte().numpy(), cv2.COLOR_RGB2GRAY)
        for image in (image1, image2)
    ]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(1 if min(grey[0].shape) >= 64 else 0)
    return None, torch.from_numpy(dis.calc(*grey, None)).permute(2, 0, 1)[None]


stand_in("vbench", __path__=[str(checkout / "vbench")])
stand_in("vbench.utils", load_dimension_info=None)
stand_in("easydict", EasyDict=dict)
stand_in("vbench.third_party.RAFT.core.raft", RAFT=None)
stand_in("vbench.third_party.RAFT.core.utils_core.utils", InputPadder=Unpadded)
from vbench import dynamic_degree, temporal_flickering


def dynamic(medium: dict[str, object]) -> tuple[float, bool]:
    """The speed that decides, in units of the threshold, and VBench's verdict."""
    clip = render(medium)
    scorer = dynamic_degree.DynamicDegree.__new__(dynamic_degree.DynamicDegree)
    scorer.model = dis_flow
    speeds = []
    get_score = scorer.get_score

    def remember(frame: torch.Tensor, flow: torch.Tensor) -> float:
        speeds.append(get_score(frame, flow))
        return speeds[-1]

    frames = [frame.float()[None] for frame in clip.frames]
    kept = scorer.extract_frame(frames, max(1, round(clip.fps / 8)))
    scorer.get_frames = lambda path: kept
    scorer.get_score = remember
    moves = scorer.infer("clip.mp4")
    count = scorer.params["count_num"]
    return sorted(speeds)[-count] / scorer.params["thres"], moves


def flickering(medium: dict[str, object]) -> float:
    """VBench's temporal flickering of the clip, read from lossless files."""
    with tempfile.TemporaryDirectory() as folder:
        for index, frame in enumerate(render(medium).frames):
            path = Path(folder) / f"{index:03}.png"
            cv2.imwrite(str(path), frame.permute(1, 2, 0).numpy()[..., ::-1])
        return temporal_flickering.cal_score(f"{folder}/%03d.png")


def clip(seed: int, size: tuple[int, int], **motion: object) -> dict[str, object]:
    return {"kind": "clip", "seed": seed, "size": size, **motion}


CLIPS = [
    clip(0, (64, 64), frames=8),
    clip(1, (64, 96), frames=8, velocity=(1.0, 0.5)),
    clip(2, (96, 64), frames=9, velocity=(0.0, 3.0)),
    clip(3, (128, 128), frames=16, fps=24.0, velocity=(1.0, 1.0)),
    clip(4, (32, 32), frames=12, fps=12.0, velocity=(0.5, 0.25)),
    clip(5, (32, 48), frames=10, fps=10.0, shake=1.5),
    clip(6, (64, 64), frames=6, flicker=12.0),
    clip(7, (72, 120), frames=13, fps=30.0, velocity=(-1.5, 0.0), shake=1.0, flicker=3.0),
]


def write(reward: str, file: str, scores: list[float], atol: float) -> None:
    Golden(
        reward=reward,
        upstream=f"Vchitect/VBench@{commit} vbench/{file}",
        command="PYTHONPATH=.:tests python tests/oracle/vbench_motion.py CLONE",
        versions={"numpy": np.__version__, "opencv": cv2.__version__},
        cases=[
            Case(medium=medium, score=score, atol=atol)
            for medium, score in zip(CLIPS, scores, strict=True)
        ],
    ).write()


if __name__ == "__main__":
    verdicts = [dynamic(medium) for medium in CLIPS]
    assert all((score > 1) == moves for score, moves in verdicts)
    assert {moves for _, moves in verdicts} == {True, False}
    # Vector instructions differ between processors, and with them the flow in its last digits.
    write("dynamic-degree", "dynamic_degree.py", [score for score, _ in verdicts], 2e-3)
    stability = [flickering(medium) for medium in CLIPS]
    write("temporal-stability", "temporal_flickering.py", stability, 1e-6)
