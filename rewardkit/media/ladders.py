"""Pictures and clips whose order is known, rendered by seed: something to score without downloads.

A ladder takes one scene and does one thing to it in five strengths, `blur-0` to `blur-4`; rung 0 is
the scene untouched (or, for clips, still or steady). Whatever claims to measure that one thing has
to put the rungs in order.

    python -m rewardkit.media.ladders DIR    # DIR/pictures, clips, prompts.jsonl and ladders.png
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from rewardkit.media.batch import Clip
from rewardkit.media.clips import write_clip
from rewardkit.media.images import read_image, write_image
from rewardkit.media.scene import render
from rewardkit.media.sheets import contact_sheet

PROMPT = "three hot-air balloons over a mountain lake at dusk, a flowering meadow in front"

_FRAMES, _FPS = 16, 8.0
_VIEW = (256, 192)  # width and height of a clip, a window on the scene


def pictures() -> dict[str, torch.Tensor]:
    """Every rung of every picture ladder, by name, uint8 `[3, 384, 512]`."""
    scene = Image.fromarray(_scene())
    return {
        f"{name}-{rung}": read_image(degrade(scene, strength))
        for name, (degrade, strengths) in _PICTURES.items()
        for rung, strength in enumerate(strengths)
    }


def clips() -> dict[str, Clip]:
    """Every rung of every clip ladder, by name: 16 frames of 256 x 192, 8 per second."""
    return {
        f"{name}-{rung}": Clip(torch.from_numpy(film(strength)).permute(0, 3, 1, 2), _FPS)
        for name, (film, strengths) in _CLIPS.items()
        for rung, strength in enumerate(strengths)
    }


def write(folder: Path) -> None:
    """Writes all ladders below a folder, with a prompt file that fits pictures and clips alike."""
    lines = []
    for kind in ("pictures", "clips"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, picture in pictures().items():
        write_image(picture, folder / "pictures" / f"{name}.png")
        lines.append({"path": f"pictures/{name}.png", "prompt": PROMPT})
    for name, clip in clips().items():
        write_clip(clip, folder / "clips" / f"{name}.mp4")
        lines.append({"path": f"clips/{name}.mp4", "prompt": PROMPT})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "prompts.jsonl").write_text(text, encoding="utf-8")


def _blur(scene: Image.Image, radius: float) -> Image.Image:
    return scene.filter(ImageFilter.GaussianBlur(radius))


def _noise(scene: Image.Image, sigma: float) -> Image.Image:
    exact = np.asarray(scene) + sigma * np.random.default_rng(1).standard_normal((384, 512, 3))
    return Image.fromarray(_to_uint8(exact))


def _exposure(scene: Image.Image, stops: float) -> Image.Image:
    """Less light, through the display's gamma of 2.2; never nearer to a medium grey."""
    return Image.fromarray(_to_uint8(np.asarray(scene) * 2 ** (-stops / 2.2)))


def _contrast(scene: Image.Image, kept: float) -> Image.Image:
    return ImageEnhance.Contrast(scene).enhance(kept)


def _colour(scene: Image.Image, kept: float) -> Image.Image:
    return ImageEnhance.Color(scene).enhance(kept)


def _detail(scene: Image.Image, block: float) -> Image.Image:
    small = scene.reduce(int(block))
    return small.resize(scene.size, Image.Resampling.NEAREST)


def _speed(pixels_per_frame: float) -> NDArray[np.uint8]:
    return np.stack([_view(pixels_per_frame * i, 0) for i in range(_FRAMES)])


def _flicker(amplitude: float) -> NDArray[np.uint8]:
    """A still view, brighter and darker by turns."""
    still = _view(0, 0).astype(float)
    return np.stack([_to_uint8(still + amplitude * (-1) ** i) for i in range(_FRAMES)])


def _shake(pixels: float) -> NDArray[np.uint8]:
    """A slow pan by a hand less and less steady."""
    jerks = pixels * np.random.default_rng(2).uniform(-1, 1, (_FRAMES, 2))
    return np.stack([_view(16 + 2 * i + jerk[0], jerk[1]) for i, jerk in enumerate(jerks)])


_PICTURES: Mapping[str, tuple[Callable[[Image.Image, float], Image.Image], tuple[float, ...]]] = {
    "blur": (_blur, (0, 1, 2, 4, 8)),
    "colour": (_colour, (1, 0.75, 0.5, 0.25, 0)),
    "contrast": (_contrast, (1, 0.75, 0.5, 0.3, 0.15)),
    "detail": (_detail, (1, 2, 4, 8, 16)),
    "exposure": (_exposure, (0, 1, 2, 3, 4)),
    "noise": (_noise, (0, 8, 16, 32, 64)),
}

_CLIPS: Mapping[str, tuple[Callable[[float], NDArray[np.uint8]], tuple[float, ...]]] = {
    "flicker": (_flicker, (0, 4, 8, 16, 32)),
    "shake": (_shake, (0, 1, 2, 4, 8)),
    "speed": (_speed, (0, 2, 4, 8, 16)),
}


@functools.cache
def _scene() -> NDArray[np.uint8]:
    return render(512, 384, seed=0)


def _view(right: float, down: float) -> NDArray[np.uint8]:
    """The window on the scene, moved by whole pixels from where it shows the first balloon."""
    left, top = round(right), 48 + round(down)
    width, height = _VIEW
    return _scene()[top : top + height, left : left + width]


def _to_uint8(exact: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(exact.clip(0, 255)), np.uint8)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Write all ladders to FOLDER: pictures/*.png, clips/*.mp4, prompts.jsonl and ladders.png."""
    write(folder)
    shown = pictures()
    contact_sheet(list(shown.values()), list(shown)).save(folder / "ladders.png")
    click.echo(f"wrote pictures, clips, prompts.jsonl and ladders.png to {folder}", err=True)


if __name__ == "__main__":
    main()
