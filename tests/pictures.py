"""Twelve smooth random pictures of different shapes, made from seeds, for tests of scores."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

# (height, width): square, landscape, portrait, thin, smaller and larger than any encoder's input.
SHAPES = (
    (224, 224),
    (512, 512),
    (480, 640),
    (640, 480),
    (200, 1000),
    (1000, 200),
    (100, 224),
    (224, 225),
    (37, 53),
    (378, 378),
    (299, 300),
    (777, 333),
)
PROMPTS = [
    "a red cube on a blue sphere",
    "A photo of a cat, 4k, highly detailed!!",
    "ein Bär läuft über die Straße",
    "naïve café & <b>bold</b> it's",
    "😀 emoji",
    "word " * 200,
]


def picture(seed: int, height: int, width: int) -> torch.Tensor:
    """A uint8 picture `[3, H, W]`: coarse random colours, enlarged smoothly, with some grain."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    grainy = smooth + rng.normal(0, 8, smooth.shape)
    return torch.from_numpy(grainy.round().clip(0, 255).astype(np.uint8)).permute(2, 0, 1)


def twelve() -> list[torch.Tensor]:
    """One picture of each of `SHAPES`."""
    return [picture(seed, *shape) for seed, shape in enumerate(SHAPES)]


def written(
    *lines: str,
    size: tuple[int, int] = (64, 256),
    font: int = 28,
    turned: float = 0,
    ink: str = "black",
    paper: str = "white",
) -> torch.Tensor:
    """Lines of text in the middle of a picture `[3, H, W]`, in the font that Pillow carries.

    Args:
        lines: of the text.
        size: height and width, before it is turned.
        font: its size in pixels.
        turned: degrees, counter-clockwise.
        ink: colour of the text.
        paper: colour of the picture.
    """
    page = Image.new("RGB", size[::-1], paper)
    middle = (size[1] / 2, size[0] / 2)
    face = ImageFont.load_default(font)
    ImageDraw.Draw(page).multiline_text(middle, "\n".join(lines), ink, face, "mm", align="center")
    page = page.rotate(turned, Image.Resampling.BICUBIC, expand=True, fillcolor=paper)
    return torch.from_numpy(np.array(page)).permute(2, 0, 1)


def pil(pixels: torch.Tensor) -> Image.Image:
    """The same pixels as a PIL picture."""
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
