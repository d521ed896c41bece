"""What mmdet's own code made of seeded weights, logits and pictures, and how to make those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from golden.cases import FOLDER
from golden.prompted import fill
from pictures import picture, twelve
from pydantic import BaseModel, ConfigDict

FILE = FOLDER / "geneval-detector.json"
# Of the network of transformers, and the same of mmdet's.
NARROW: dict[str, Any] = {
    "swin": {"embed_dim": 24, "depths": [2, 2, 4, 2], "num_heads": [1, 2, 4, 8]},
    "num_queries": 10,
    "feature_size": 64,
    "mask_feature_size": 64,
    "hidden_dim": 64,
    "encoder_layers": 2,
    "encoder_feedforward_dim": 96,
    "decoder_layers": 5,
    "dim_feedforward": 112,
}
# What of the published network's sizes a checkpoint's layout depends on.
PUBLISHED: dict[str, Any] = {
    "swin": {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24]},
    "num_queries": 100,
    "hidden_dim": 256,
    "encoder_layers": 6,
    "encoder_feedforward_dim": 1024,
    "decoder_layers": 10,
    "dim_feedforward": 2048,
}
# (height, width): windows of seven fit into no side of any stage.
INPUTS = ((96, 160), (192, 64))


class Logits(BaseModel):
    """Of one input: the logits of ten queries, and of their masks every 29th."""

    model_config = ConfigDict(extra="forbid")

    classes: list[list[float]]
    masks: list[list[float]]


class Instances(BaseModel):
    """The objects of one case of `logits`, by label and then by score."""

    model_config = ConfigDict(extra="forbid")

    labels: list[int]
    rows: list[list[float]]
    lit: list[int]  # pixels of each mask


class Pixels(BaseModel):
    """The network's input of one picture; see `sample`."""

    model_config = ConfigDict(extra="forbid")

    resized: list[int]  # height and width
    levels: list[int]
    input: list[int]  # height and width
    normalised: list[float]


class DetectorGolden(BaseModel):
    """The golden file."""

    model_config = ConfigDict(extra="forbid")

    upstream: str
    command: str
    versions: dict[str, str]
    layout: str  # of the published size; see `golden.prompted.layout`
    narrow: list[Logits]  # of INPUTS
    published: list[Logits]
    instances: list[Instances]  # of `cases()`
    pixels: list[Pixels]  # of `media()`

    def write(self) -> None:
        """Write the file."""
        FILE.write_text(self.model_dump_json() + "\n", encoding="utf-8")


def load() -> DetectorGolden:
    """The golden file."""
    return DetectorGolden.model_validate_json(FILE.read_bytes())


def shapes(sizes: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The tensors of mmdet's detector by name, of sizes such as NARROW, without mmdet."""
    found: dict[str, tuple[int, ...]] = {}

    def linear(name: str, inside: int, outside: int, kernel: tuple[int, ...] = ()) -> None:
        found.update({f"{name}.weight": (outside, inside, *kernel), f"{name}.bias": (outside,)})

    def norm(name: str, width: int) -> None:
        found.update({f"{name}.weight": (width,), f"{name}.bias": (width,)})

    def feed_forward(name: str, width: int, hidden: int) -> None:
        linear(f"{name}.0.0", width, hidden)
        linear(f"{name}.1", hidden, width)

    swin, width, queries = sizes["swin"], sizes["hidden_dim"], sizes["num_queries"]
    widths = [swin["embed_dim"] * 2**i for i in range(4)]
    linear("backbone.patch_embed.projection", 3, widths[0], (4, 4))
    norm("backbone.patch_embed.norm", widths[0])
    for i, (wide, depth, heads) in enumerate(
        zip(widths, swin["depths"], swin["num_heads"], strict=True)
    ):
        norm(f"backbone.norm{i}", wide)
        for j in range(depth):
            block = f"backbone.stages.{i}.blocks.{j}"
            norm(f"{block}.norm1", wide)
            norm(f"{block}.norm2", wide)
            found[f"{block}.attn.w_msa.relative_position_bias_table"] = (13 * 13, heads)
            found[f"{block}.attn.w_msa.relative_position_index"] = (49, 49)
            linear(f"{block}.attn.w_msa.qkv", wide, 3 * wide)
            linear(f"{block}.attn.w_msa.proj", wide, wide)
            feed_forward(f"{block}.ffn.layers", wide, 4 * wide)
        if i < 3:
            norm(f"backbone.stages.{i}.downsample.norm", 4 * wide)
            found[f"backbone.stages.{i}.downsample.reduction.weight"] = (2 * wide, 4 * wide)

    head = "panoptic_head"
    pixels, decoder = f"{head}.pixel_decoder", f"{head}.transformer_decoder"
    for i, wide in enumerate(widths[:0:-1]):
        linear(f"{pixels}.input_convs.{i}.conv", wide, width, (1, 1))
        norm(f"{pixels}.input_convs.{i}.gn", width)
    for i in range(sizes["encoder_layers"]):
        layer = f"{pixels}.encoder.layers.{i}"
        # 8 heads look at 4 points in each of 3 levels.
        linear(f"{layer}.attentions.0.sampling_offsets", width, 8 * 3 * 4 * 2)
        linear(f"{layer}.attentions.0.attention_weights", width, 8 * 3 * 4)
        linear(f"{layer}.attentions.0.value_proj", width, width)
        linear(f"{layer}.attentions.0.output_proj", width, width)
        feed_forward(f"{layer}.ffns.0.layers", width, sizes["encoder_feedforward_dim"])
        for j in range(2):
            norm(f"{layer}.norms.{j}", width)
    found[f"{pixels}.level_encoding.weight"] = (3, width)
    found[f"{pixels}.lateral_convs.0.conv.weight"] = (width, widths[0], 1, 1)
    found[f"{pixels}.output_convs.0.conv.weight"] = (width, width, 3, 3)
    norm(f"{pixels}.lateral_convs.0.gn", width)
    norm(f"{pixels}.output_convs.0.gn", width)
    linear(f"{pixels}.mask_feature", width, width, (1, 1))
    for i in range(sizes["decoder_layers"] - 1):
        layer = f"{decoder}.layers.{i}"
        for j in range(2):
            found[f"{layer}.attentions.{j}.attn.in_proj_weight"] = (3 * width, width)
            found[f"{layer}.attentions.{j}.attn.in_proj_bias"] = (3 * width,)
            linear(f"{layer}.attentions.{j}.attn.out_proj", width, width)
        feed_forward(f"{layer}.ffns.0.layers", width, sizes["dim_feedforward"])
        for j in range(3):
            norm(f"{layer}.norms.{j}", width)
    norm(f"{decoder}.post_norm", width)
    found[f"{head}.query_embed.weight"] = found[f"{head}.query_feat.weight"] = (queries, width)
    found[f"{head}.level_embed.weight"] = (3, width)
    linear(f"{head}.cls_embed", width, 81)
    for i in (0, 2, 4):
        linear(f"{head}.mask_embed.{i}", width, width)
    return found


def checkpoint(sizes: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What mmdet's detector of these sizes held when it made the golden file."""
    empty = {
        name: torch.empty(shape, dtype=torch.int64 if name.endswith("index") else None)
        for name, shape in shapes(sizes).items()
    }
    return weights(empty)


def weights(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Seeded weights under mmdet's names.

    Queries are of size 1, or they would all say the same; and by its name `fill` knows no group
    norm for a norm.
    """
    filled = fill(state)
    for key, value in filled.items():
        if "query_" in key:
            value *= value.shape[1] ** 0.5
        if key.endswith(".gn.weight"):
            value += 1
    return filled


def inputs() -> list[torch.Tensor]:
    """What the networks are shown, `[2, 3, H, W]` each."""
    rng = np.random.RandomState(7)
    return [torch.tensor(rng.standard_normal((2, 3, *s)), dtype=torch.float32) for s in INPUTS]


def logits_of(classes: torch.Tensor, masks: torch.Tensor) -> Logits:
    """The golden part of the logits of a batch, of its last picture."""
    step = classes.shape[1] // 10
    some = classes[-1, ::step], masks[-1, ::step].flatten(1)[:, ::29]
    return Logits(classes=rounded(some[0]), masks=rounded(some[1]))


def cases() -> list[tuple[torch.Tensor, torch.Tensor, tuple[int, int], tuple[int, int]]]:
    """Class logits, mask logits, the picture's height and width in the input and its own."""
    made = []
    for seed, (resized, size) in enumerate(
        [((64, 64), (51, 51)), ((64, 96), (100, 150)), ((70, 50), (47, 33)), ((33, 65), (20, 40))]
    ):
        rng = np.random.RandomState(seed)
        height, width = (-(-side // 32) * 8 for side in resized)  # a quarter of the input
        y, x = np.mgrid[:height, :width]
        places = rng.rand(30, 3) * (height, width, 3) + (0, 0, 1)
        masks = np.stack([2 - np.hypot(y - i, x - j) / radius for i, j, radius in places])
        masks += 0.3 * rng.standard_normal(masks.shape)
        masks[:3] = -1  # nothing is lit
        classes = 5 * rng.standard_normal((30, 81))
        made.append((torch.tensor(classes).float(), torch.tensor(masks).float(), resized, size))
    return made


def instances_of(labels: torch.Tensor, rows: torch.Tensor, masks: torch.Tensor) -> Instances:
    """The golden part of some objects, in an order that does not depend on theirs."""
    by = sorted(range(len(labels)), key=lambda i: (int(labels[i]), -float(rows[i, 4])))
    return Instances(
        labels=[int(labels[i]) for i in by],
        rows=rounded(rows[by]),
        lit=[int(masks[i].sum()) for i in by],
    )


def media() -> list[torch.Tensor]:
    """Landscape, portrait, square, thin, small and large pictures."""
    return [*twelve(), picture(12, 1600, 1100)]


def sample(pixels: torch.Tensor) -> torch.Tensor:
    """Some pixels of `[3, H, W]`: of every 150th row and column, and the last ones."""
    rows, columns = (torch.tensor([*range(0, side, 150), side - 1]) for side in pixels.shape[1:])
    return pixels[:, rows][:, :, columns].flatten()


def rounded(numbers: torch.Tensor) -> Any:
    """As lists, of seven significant digits."""
    if numbers.ndim:
        return [rounded(part) for part in numbers]
    return float(f"{float(numbers):.7g}")
