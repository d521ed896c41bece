"""Preprocessing of an image for the detector, with the exact pixels of mmdet 2.x.

OpenCV resizes the 8-bit image, which is padded with grey on the right and at the bottom and only
then normalised: the network sees padding of grey 128, not zeros.

Source: https://github.com/open-mmlab/mmdetection/blob/v2.28.2/configs/mask2former/mask2former_r50_lsj_8x2_50e_coco.py
and mmcv 1.7, mmcv/image/geometric.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardkit.errors import InputError

if TYPE_CHECKING:
    import torch

# Maximum length of the longer and of the shorter side of a resized image.
SCALE = (1333, 800)
# In RGB: mmdet reads BGR and swaps the channels when it normalises.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
_FILLING = 128
_MULTIPLE = 32


def resized_shape(height: int, width: int, scale: tuple[int, int] = SCALE) -> tuple[int, int]:
    """The largest height and width within `scale` with the same aspect ratio; halves round up.

    Raises:
        InputError: the image is so thin that a side would be rounded to 0.
    """
    longest, shortest = scale
    factor = min(longest / max(height, width), shortest / min(height, width))
    shape = int(height * factor + 0.5), int(width * factor + 0.5)
    if 0 in shape:
        raise InputError(
            f"an image of {width}x{height} pixels is too thin for the detector, whose input is at "
            f"most {longest} pixels long: crop it first"
        )
    return shape


def resize(picture: torch.Tensor, scale: tuple[int, int] = SCALE) -> torch.Tensor:
    """Resize an image, uint8 `[3, H, W]`, to `resized_shape`: uint8 `[3, h, w]`."""
    import cv2
    import torch

    height, width = resized_shape(picture.shape[1], picture.shape[2], scale)
    rows = picture.permute(1, 2, 0).contiguous().numpy()
    resized = cv2.resize(rows, (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.from_numpy(resized).permute(2, 0, 1)


def normalise(resized: torch.Tensor) -> torch.Tensor:
    """Pad and normalise images: float32 on the same device, with sides that are multiples of 32.

    Args:
        resized: images of one size, uint8 `[B, 3, h, w]`.
    """
    import torch
    from torch.nn import functional as F

    height, width = resized.shape[2:]
    filled = F.pad(resized, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), value=_FILLING)
    mean, std = (torch.tensor(of, device=filled.device).view(3, 1, 1) for of in (MEAN, STD))
    return (filled.float() - mean) / std
