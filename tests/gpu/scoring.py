"""Part (b): pictures per second of scoring a folder, beside the bare network and the peak."""

from __future__ import annotations

import time
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from agreement import exact
from networks import pictures, random_weights
from PIL import Image
from session import Session
from torch.utils.flop_counter import FlopCounterMode

from rewardkit import score_folder
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import resolve
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import parse

REWARD = "hps.v2.1"
PROMPT = "a photo of a cat"


def peak(session: Session) -> None:
    """The device's fastest matrix product: what all shares of a peak refer to."""
    side = 256 if session.tiny else 8192
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(side, side, device=session.device, dtype=dtype) for _ in range(2))
        work = lambda a=a, b=b: [a @ b for _ in range(4)]  # noqa: E731
        flops = 4 * 2 * side**3 / session.timed(work, 5)
        name = str(dtype).removeprefix("torch.")
        session.measured(f"matrix product of {side} x {side}, {name}", flops / 1e12, "TFLOP/s")
    session.peak = flops


def throughput(session: Session) -> None:
    """`rewardkit score` on a folder of JPEGs by batch size, and the network alone."""
    number, side = (8, 64) if session.tiny else (512, 512)
    sizes = (2, 4) if session.tiny else (16, 64, 128)
    folder = _jpegs(session.home / "jpegs", number, side)
    for dtype in ("bfloat16", "float32"):
        with session.attempt(f"{REWARD}, {dtype}"), random_weights(session.tiny):
            _bare(session, sizes, dtype)
    for size in sizes:
        with session.attempt(f"score, batches of {size}"), random_weights(session.tiny):
            _score(session, folder, number, size)
    with session.attempt("hpsv2's loop"), random_weights(session.tiny):
        _upstream(session, folder)


def _jpegs(folder: Path, number: int, side: int) -> Path:
    folder.mkdir()
    for index, picture in enumerate(pictures(number, side)):
        pixels = picture.permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{index:04d}.jpg", quality=95)
    return folder


def _score(session: Session, folder: Path, number: int, size: int) -> None:
    """The whole command, its threads included; the first batch loads and warms up."""
    seen: list[tuple[float, int]] = []

    def progress(state: Any) -> None:
        session.synchronize()
        seen.append((time.perf_counter(), state.done))

    report = score_folder(
        str(folder), REWARD, prompt=PROMPT, device=str(session.device), dtype="bfloat16",
        batch_size=size, output=folder.parent / f"scores-{size}.parquet", on_progress=progress,
    )  # fmt: skip
    session.holds(
        f"score, batches of {size}: every picture has a score",
        all(row.error is None for row in report.rows) and len(report.rows) == number,
        next((str(row.error) for row in report.rows if row.error), "rows are missing"),
    )
    # Before the first batch, all is loaded; during it, the device warms up.
    (first, warm), (last, done) = seen[1], seen[-1]
    rate = (done - warm) / (last - first)
    session.measured(f"rewardkit score, batches of {size}, bfloat16", rate, "pictures/s")


def _bare(session: Session, sizes: tuple[int, ...], dtype: str) -> None:
    """The network on pixels that lie on the device."""
    loader = Loader(str(session.device), dtype)
    encoder: Any = Scorer.load(parse(REWARD, resolve), loader).rewards[REWARD].extractor
    for size in sizes:
        pixels = torch.randn(size, 3, 224, 224, device=session.device)
        with torch.inference_mode(), exact():
            with FlopCounterMode(display=False) as counter:
                encoder.encode_image(pixels)
            with session.memory(f"ViT-H-14 alone, batches of {size}, {dtype}, memory"):
                seconds = session.timed(lambda: encoder.encode_image(pixels), 5)  # noqa: B023
        name = f"ViT-H-14 alone, batches of {size}, {dtype}"
        session.measured(name, size / seconds, "pictures/s")
        if dtype == "bfloat16":
            session.share_of_peak(f"{name}, share", counter.get_total_flops(), seconds)


def _upstream(session: Session, folder: Path) -> None:
    """As the package hpsv2 scores: picture by picture, text and picture each time, in autocast.

    Where hpsv2 is installed its own transform is used; its `score` itself downloads a checkpoint.
    """
    from open_clip.transform import PreprocessCfg, image_transform_v2

    loader = Loader(str(session.device))
    encoder: Any = Scorer.load(parse(REWARD, resolve), loader).rewards[REWARD].extractor
    transform: Any = image_transform_v2(PreprocessCfg(), is_train=False)
    name = "the loop of hpsv2.score, with open_clip's transform"
    if find_spec("hpsv2") is not None:
        from hpsv2.src.open_clip.transform import image_transform

        own = PreprocessCfg()
        transform = image_transform(224, False, own.mean, own.std, resize_longest_max=True)
        name = "the loop of hpsv2.score, with its own transform"
    paths = sorted(folder.iterdir())[: 4 if session.tiny else 64]
    network, device = encoder._model, session.device
    low = torch.autocast(device.type) if device.type == "cuda" else nullcontext()

    def loop() -> None:
        for path in paths:
            pixels = transform(Image.open(path)).unsqueeze(0).to(device)
            with torch.no_grad(), low:
                seen = network.encode_image(pixels, normalize=True)
                read = network.encode_text(encoder._tokenize([PROMPT]).to(device), normalize=True)
                (seen @ read.T).diagonal().cpu()

    session.measured(name, len(paths) / session.timed(loop, 2), "pictures/s")
