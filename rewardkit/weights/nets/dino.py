"""DINO's vision transformer on pictures of any size, as its authors interpolate positions.

Caron et al. 2021, https://arxiv.org/abs/2104.14294; upstream is facebookresearch/dino's
`vision_transformer.py`. The blocks are timm's; timm resamples positions otherwise.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F


class DinoTransformer(VisionTransformer):
    """timm's transformer; its checkpoint and upstream's have the same names of tensors."""

    # timm allows for transformers without them.
    cls_token: torch.nn.Parameter
    pos_embed: torch.nn.Parameter

    def __init__(self, **config: Any) -> None:
        super().__init__(**config, num_classes=0, dynamic_img_size=True)

    def forward(
        self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
    ) -> torch.Tensor:
        """The class token `[B, D]` after the last norm, of pixels `[B, 3, H, W]`.

        What the last whole patch leaves over on the right and below is not looked at. timm's other
        arguments are not used.
        """
        height, width = x.shape[-2:]
        size = self.patch_embed.patch_size[0]
        rows, columns = height // size, width // size
        patches = self.patch_embed(x[..., : rows * size, : columns * size]).flatten(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1)
        tokens = tokens + self._positions(rows, columns, height == width)
        return self.norm(self.blocks(tokens))[:, 0]

    def _positions(self, rows: int, columns: int, square: bool) -> torch.Tensor:
        """Positions of the class token and of `rows` x `columns` patches, `[1, 1 + P, D]`.

        A picture that is not square is interpolated, even where it has as many patches as the
        positions: upstream does.
        """
        height, width = self.patch_embed.grid_size
        if square and (rows, columns) == (height, width):
            return self.pos_embed
        first, grid = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        grid = grid.reshape(1, height, width, -1).permute(0, 3, 1, 2).float()
        # The tenth of a patch is upstream's, against rounding; it moves every sampling point.
        scale = (rows + 0.1) / height, (columns + 0.1) / width
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic")
        return torch.cat([first, grid.flatten(2).transpose(1, 2).to(first.dtype)], dim=1)


#: ViT-B/16.
BASE: dict[str, Any] = {"patch_size": 16, "embed_dim": 768, "depth": 12, "num_heads": 12}
#: The same class, small enough for a test.
TINY: dict[str, Any] = {"patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 3}
