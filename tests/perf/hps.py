"""hps.v2.1 beside the package hpsv2, on the same random checkpoint, in one run: `make perf-hps`."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
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
        start = time.perf_counter()
        mine = ours(photos, PROMPT)
        middle = time.perf_counter()
        theirs = img_score.score(photos, PROMPT, cp=str(checkpoint))
        end = time.perf_counter()
        model.load_state_dict(torch.load(checkpoint, map_location="cpu")["state_dict"])
        rounds.append((middle - start, end - middle, time.perf_counter() - end))
        expected = torch.tensor([float(score) for score in theirs])
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-5)
    mine, theirs, reload = (statistics.median(column) for column in zip(*rounds, strict=True))
    with_reload = statistics.median(their / my for my, their, _ in rounds)
    without = statistics.median((their - load) / my for my, their, load in rounds)
    print(
        f"{PICTURES} pictures 512x512, one prompt, CPU, {torch.get_num_threads()} threads, "
        f"median of {ROUNDS}\n"
        f"  hps.v2.1 {mine:.2f} s, hpsv2.img_score.score {theirs:.2f} s, of it {reload:.2f} s to "
        f"read the checkpoint again\n"
        f"  upstream / ours: {with_reload:.2f} x, without the reload {without:.2f} x"
    )


if __name__ == "__main__":
    main()
