"""Speed of folder scoring as ratios, both sides measured in turn in one run: `make perf`.

Weights are random and of the real architecture: they cost what the real ones cost.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from safetensors.torch import save_file

import rewardkit
from rewardkit.rewards.clip import VIT_B_32, ClipReward

sys.path.insert(0, str(Path(__file__).parents[1]))
from pictures import picture, pil

NAME, TWIN = "clip.vit-b-32", "clip-twin"
PICTURES, BATCH, ROUNDS = 256, 32, 3


def paired(ours: Callable[[], float], other: Callable[[], float]) -> tuple[float, float, float]:
    """Median seconds of both, and the median of the ratios round by round."""
    rounds = [(ours(), other()) for _ in range(ROUNDS)]
    return (
        statistics.median(a for a, _ in rounds),
        statistics.median(b for _, b in rounds),
        statistics.median(a / b for a, b in rounds),
    )


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def score(photos: Path, spec: str, weights: Path) -> float:
    """Seconds of folder scoring once everything is loaded: decode, score, write the table."""
    loaded: list[float] = []
    with tempfile.TemporaryDirectory() as out:
        rewardkit.score_folder(
            photos,
            spec,
            prompt="a photo",
            output=Path(out, "scores.parquet"),
            weights={NAME: weights},
            batch_size=BATCH,
            device="cpu",
            on_progress=lambda _: loaded.append(time.perf_counter()),
        )
        return time.perf_counter() - loaded[0]


def bare(model: torch.nn.Module, photos: Sequence[Path]) -> float:
    """Decode and preprocess with open_clip's transform on all cores, then the forwards."""
    transform = image_transform_v2(PreprocessCfg(), is_train=False)
    pixels: list[torch.Tensor] = []

    def read() -> None:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            pixels.extend(pool.map(lambda path: transform(Image.open(path)), photos))

    def forward() -> None:
        with torch.inference_mode():
            for start in range(0, len(pixels), BATCH):
                model.encode_image(torch.stack(pixels[start : start + BATCH]))

    return seconds(read) + seconds(forward)


def main() -> None:
    """Prints a line per comparison."""
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name, "photos")
        photos.mkdir()
        paths = [photos / f"{i:03d}.jpg" for i in range(PICTURES)]
        for seed, path in enumerate(paths):
            pil(picture(seed, 512, 512)).save(path, quality=90)
        torch.manual_seed(0)
        model = open_clip.CLIP(**open_clip.get_model_config(VIT_B_32.architecture)).eval()
        weights = Path(name, "random.safetensors")
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
        card = next(card for card in rewardkit.list_rewards() if card.name == NAME)
        rewardkit.register(card.model_copy(update={"name": TWIN}))(ClipReward)

        ours, base, ratio = paired(lambda: score(photos, NAME, weights), lambda: bare(model, paths))
        print(
            f"{PICTURES} JPEGs 512x512, {NAME}, CPU, {torch.get_num_threads()} threads, "
            f"median of {ROUNDS}\n"
            f"  score_folder {ours:.2f} s, bare decode + preprocess + forwards {base:.2f} s: "
            f"{ratio:.2f} x"
        )
        both, single, ratio = paired(
            lambda: score(photos, f"{NAME}+{TWIN}", weights), lambda: score(photos, NAME, weights)
        )
        print(f"  two rewards on one encoder {both:.2f} s, one {single:.2f} s: {ratio:.2f} x")


if __name__ == "__main__":
    main()
