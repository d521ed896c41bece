"""From a picture to the detector's input, pixel by pixel as mmdet 2.x makes it.

The 8-bit picture is resized by OpenCV, filled up with grey at the right and at the bottom, and only
then normalised: in the network's eyes the filling is a grey of 128, not zeros.

Source: https://github.com/open-mmlab/mmdetection/blob/v2.28.2/configs/mask2former/mask2former_r50_lsj_8x2_50e_coco.py
and mmcv 1.7, mmcv/image/geometric.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.errors import InputError

if TYPE_CHECKING:
    import torch

# The longest and the shortest side that a resized picture may have.
SCALE = (1333, 800)
# In RGB: mmdet reads BGR, and swaps the channels when it normalises.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
_FILLING = 128
_MULTIPLE = 32


def resized_shape(height: int, width: int, scale: tuple[int, int] = SCALE) -> tuple[int, int]:
    """Height and width, as large as `scale` lets them be in the same proportion; halves go up.

    Raises:
        InputError: the picture is so thin that a side would vanish.
    """
    longest, shortest = scale
    factor = min(longest / max(height, width), shortest / min(height, width))
    shape = int(height * factor + 0.5), int(width * factor + 0.5)
    if 0 in shape:
        raise InputError(
            f"a picture of {width}x{height} is too thin for the detector, whose input is at most "
            f"{longest} long: crop it first"
        )
    return shape


def resize(picture: torch.Tensor, scale: tuple[int, int] = SCALE) -> torch.Tensor:
    """A picture, uint8 `[3, H, W]`, at the size of `resized_shape`, uint8 `[3, h, w]`."""
    import cv2
    import torch

    height, width = resized_shape(picture.shape[1], picture.shape[2], scale)
    rows = picture.permute(1, 2, 0).contiguous().numpy()
    resized = cv2.resize(rows, (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(resized).permute(2, 0, 1)


def normalise(resized: torch.Tensor) -> torch.Tensor:
    """The network's input: float32 on the same device, its sides multiples of 32.

    Args:
        resized: pictures of one size, uint8 `[B, 3, h, w]`.
    """
    import torch
    from torch.nn import functional as F

    height, width = resized.shape[2:]
    filled = F.pad(resized, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), value=_FILLING)
    mean, std = (torch.tensor(of, device=filled.device).view(3, 1, 1) for of in (MEAN, STD))
    return (filled.float() - mean) / std
