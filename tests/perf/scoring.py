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
from rewardkit.engine.openai_clip import VIT_B_32, VIT_L_14
from rewardkit.engine.registry import entry
from rewardkit.rewards.laion_aesthetic import head_v2

sys.path.insert(0, str(Path(__file__).parents[1]))
from pictures import picture, pil

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


def score(photos: Sequence[Path], spec: str, weights: dict[str, Path]) -> float:
    """Seconds of folder scoring once everything is loaded: decode, score, write the table."""
    loaded: list[float] = []
    needed = {w.name for one in spec.split("+") for w in entry(one).card.all_weights}
    with tempfile.TemporaryDirectory() as out:
        rewardkit.score_folder(
            photos,
            spec,
            prompt="a photo",
            output=Path(out, "scores.parquet"),
            weights={name: weights[name] for name in needed},
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


def random_weights(folder: Path, name: str, network: torch.nn.Module) -> torch.nn.Module:
    """Write a network's weights where `REWARDKIT_WEIGHTS` would look for them."""
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / f"{name}.safetensors")
    return network.eval()


def main() -> None:
    """Prints a line per comparison."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = [folder / f"{i:03d}.jpg" for i in range(PICTURES)]
        for seed, path in enumerate(photos):
            pil(picture(seed, 512, 512)).save(path, quality=90)
        networks = {
            spec.weights.name: random_weights(
                folder,
                spec.weights.name,
                open_clip.CLIP(**open_clip.get_model_config(spec.architecture)),
            )
            for spec in (VIT_B_32, VIT_L_14)
        }
        random_weights(folder, "laion-aesthetic.v2", head_v2(768))
        weights = {path.stem: path for path in folder.glob("*.safetensors")}
        threads = torch.get_num_threads()

        small = "clip.vit-b-32"
        ours, base, ratio = paired(
            lambda: score(photos, small, weights), lambda: bare(networks[small], photos)
        )
        print(
            f"{PICTURES} JPEGs 512x512, CPU, {threads} threads, median of {ROUNDS}\n"
            f"  {small}: score_folder {ours:.2f} s, bare decode + preprocess + forwards "
            f"{base:.2f} s: {ratio:.2f} x",
            flush=True,
        )
        for one, added, count in [
            (small, "clipscore.vit-b-32", PICTURES),
            ("clip.vit-l-14", "laion-aesthetic.v2", PICTURES // 8),
        ]:
            some = photos[:count]
            compare(f"{one}+{added}", one, some, weights)


def compare(both: str, one: str, photos: Sequence[Path], weights: dict[str, Path]) -> None:
    """Two rewards on one encoder beside the one."""
    two, single, ratio = paired(
        lambda: score(photos, both, weights), lambda: score(photos, one, weights)
    )
    print(
        f"  {len(photos)} pictures: {both} {two:.2f} s, {one} {single:.2f} s: {ratio:.2f} x",
        flush=True,
    )


if __name__ == "__main__":
    main()
