"""Goldens of VBench's dimensions that look at frames, by its own functions on random weights.

Arguments: clones of Vchitect/VBench, facebookresearch/dino and openai/CLIP. VBench's `load_video`
is handed the frames, as the floats it makes of a file; its transforms and functions are its own.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import openai_clip
import torch
import torchvision
from golden.cases import Case, Golden
from golden.media import render
from golden.prompted import fill
from torch import nn
from upstream import commit

COMMAND = "PYTHONPATH=.:tests:tests/oracle python tests/oracle/vbench_frames.py CLONES"
torch.set_num_threads(1)
vbench_clone, dino_clone, clip_clone = map(Path, sys.argv[1:])


def clip(seed: int, size: tuple[int, int], frames: int, **motion: Any) -> dict[str, Any]:
    return {"kind": "clip", "seed": seed, "size": size, "frames": frames, **motion}


CLIPS = [
    clip(0, (48, 48), 4, velocity=(2.0, 1.0)),
    clip(1, (64, 66), 5, velocity=(4.0, 0.0)),  # 224x231: as many patches as a square has
    clip(2, (48, 96), 6, velocity=(9.0, 0.0), fps=24.0),
    clip(3, (90, 50), 3, velocity=(0.0, 14.0)),
    clip(4, (64, 80), 34, velocity=(-3.0, 1.0)),  # more than go through the network at once
    clip(5, (300, 260), 4, velocity=(25.0, 25.0), flicker=40.0),
    clip(6, (40, 56), 2, shake=12.0),
]


PICTURES = [
    {"kind": "picture", "seed": seed, "size": size}
    for seed, size in enumerate([(224, 224), (224, 231), (224, 398)])
]


def pixels(recipe: dict[str, Any]) -> torch.Tensor:
    """A picture as floats in 0..1, a batch of one."""
    return render(recipe)[None].float() / 255


def modules() -> list[Any]:
    """VBench's modules of the three dimensions, which read `CLIPS` by their places."""
    package = types.ModuleType("vbench")
    package.__path__ = [str(vbench_clone / "vbench")]
    decord = types.ModuleType("decord")
    vars(decord).update(VideoReader=None, cpu=None)  # imported, and not called here
    sys.modules.update(vbench=package, decord=decord)
    from vbench import aesthetic_quality, background_consistency, subject_consistency

    found = [aesthetic_quality, background_consistency, subject_consistency]
    for module in found:
        module.load_video = lambda place: render(CLIPS[int(place)]).frames.float()
    return found


def dino() -> nn.Module:
    """DINO's transformer with few narrow layers."""
    from functools import partial

    sys.path.insert(0, str(dino_clone))
    from vision_transformer import VisionTransformer

    model = VisionTransformer(
        patch_size=16,
        embed_dim=48,
        depth=2,
        num_heads=3,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    model.load_state_dict(fill(model.state_dict()))
    return model.eval()


def head() -> nn.Module:
    """The head that VBench's `get_aesthetic_model` makes."""
    linear = nn.Linear(768, 1)
    linear.load_state_dict(fill(linear.state_dict()))
    return linear


def write(reward: str, results: list[dict[str, Any]], *more: str) -> None:
    file = f"vbench/{reward.replace('-', '_')}.py"
    Golden(
        reward=reward,
        upstream=", ".join([f"Vchitect/VBench@{commit(vbench_clone)} {file}", *more]),
        command=COMMAND,
        versions={"torch": torch.__version__, "torchvision": torchvision.__version__},
        cases=[
            Case(medium=medium, score=result["video_results"], atol=1e-6)
            for medium, result in zip(CLIPS, results, strict=True)
        ],
    ).write()


if __name__ == "__main__":
    places = [str(place) for place in range(len(CLIPS))]
    with torch.no_grad():
        large, preprocess, _ = openai_clip.load(str(clip_clone), 768)
        small, _, _ = openai_clip.load(str(clip_clone), 512)
        aesthetic, background, subject = modules()  # they import the clone's CLIP
        network = f"openai/CLIP@{commit(clip_clone)}"
        write(
            "aesthetic-quality",
            aesthetic.laion_aesthetic(head(), large, places, "cpu")[1],
            network,
        )
        write(
            "background-consistency",
            background.background_consistency(small, preprocess, places, "cpu", False)[1],
            network,
        )
        network = f"facebookresearch/dino@{commit(dino_clone)} vision_transformer.py"
        model = dino()
        results = subject.subject_consistency(model, places, "cpu", False)[1]
        write("subject-consistency", results, network)
        # Consistency compares frames with the same positions; a token by itself shows them.
        Golden(
            reward="dino-token",
            upstream=network,
            command=COMMAND,
            versions={"torch": torch.__version__},
            cases=[
                Case(medium=medium, score=model(pixels(medium))[0, 0].item(), atol=1e-5)
                for medium in PICTURES
            ],
        ).write()
