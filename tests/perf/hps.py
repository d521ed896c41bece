"""hps.v2.1 beside the package hpsv2, on the same random checkpoint, in one run: `make perf-hps`."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from pictures import picture, pil

import rewardkit

PICTURES, ROUNDS, PROMPT = 16, 2, "a red cube on a blue sphere"
folder = Path(tempfile.mkdtemp())
os.environ["HPS_ROOT"] = str(folder)  # upstream makes this folder even where it is not used

from hpsv2 import img_score

create = img_score.create_model_and_transforms
# Upstream downloads LAION's weights first, and then replaces every one of them.
img_score.create_model_and_transforms = lambda name, _, **others: create(name, None, **others)


def main() -> None:
    """Prints both times and the ratios, with upstream's reload counted and without."""
    torch.manual_seed(0)
    img_score.initialize_model()
    model = img_score.model_dict["model"]
    checkpoint = folder / "hps.v2.1.pt"
    torch.save({"state_dict": {k: v.half() for k, v in model.state_dict().items()}}, checkpoint)
    photos = [pil(picture(seed, 512, 512)) for seed in range(PICTURES)]
    ours = rewardkit.create("hps.v2.1", device="cpu", weights={"hps.v2.1": checkpoint})

    rounds = []
    for _ in range(ROUNDS):
        times = [time.perf_counter()]
        mine = ours(photos, PROMPT)
        times.append(time.perf_counter())
        theirs = img_score.score(photos, PROMPT, cp=str(checkpoint))
        times.append(time.perf_counter())
        for photo in photos:
            img_score.score(photo, PROMPT, cp=str(checkpoint))
        times.append(time.perf_counter())
        model.load_state_dict(torch.load(checkpoint, map_location="cpu")["state_dict"])
        times.append(time.perf_counter())
        rounds.append([end - start for start, end in pairwise(times)])
        expected = torch.tensor([float(score) for score in theirs])
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-5)
    mine, once, singly, reload = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(
        f"{PICTURES} pictures 512x512, one prompt, CPU, {torch.get_num_threads()} threads, "
        f"median of {ROUNDS}; upstream / ours\n"
        f"  hps.v2.1 {mine:.1f} s; upstream reads the checkpoint again each call: {reload:.1f} s\n"
        f"  hpsv2, one call for all {once:.1f} s: {once / mine:.2f} x, "
        f"without the reload {(once - reload) / mine:.2f} x\n"
        f"  hpsv2, a call per picture {singly:.1f} s: {singly / mine:.2f} x, "
        f"without the reloads {(singly - PICTURES * reload) / mine:.2f} x"
    )


if __name__ == "__main__":
    main()
