"""Preprocessing as data: shapes by hand, and each step equal to the library it names."""

import pytest
import torch
from pictures import picture, pil
from torchvision.transforms import v2

from rewardkit.engine.preprocess import (
    CLIP_NORMALIZE,
    CenterCrop,
    Normalize,
    Resize,
    ToFloat,
    apply,
    describe_steps,
    resized_shape,
    split,
)
from rewardkit.errors import InputError


@pytest.mark.parametrize(
    ("side", "height", "width", "expected"),
    [
        # 224 * 333 / 100 = 745.92, truncated
        ("shortest", 100, 333, (224, 745)),
        ("shortest", 333, 100, (745, 224)),
        ("shortest", 50, 50, (224, 224)),
        # 100 * 224 / 333 = 67.27, rounded
        ("longest", 100, 333, (67, 224)),
        ("longest", 333, 100, (224, 67)),
        # 1 * 224 / 1000 = 0.224: a side is at least one pixel
        ("longest", 1, 1000, (1, 224)),
        ("squash", 100, 333, (224, 224)),
    ],
)
def test_the_shape_after_a_resize(side, height, width, expected):
    assert resized_shape(height, width, Resize(224, side, "bicubic", "pil")) == expected


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_tensor_resize_is_torchvisions(interpolation, antialias):
    pixels = picture(0, 120, 90)
    mode = v2.InterpolationMode(interpolation)
    expected = v2.functional.resize(pixels / 255, [80, 60], mode, antialias=antialias)
    step = Resize(80, "longest", interpolation, "tensor", antialias)
    torch.testing.assert_close(apply((ToFloat(), step), pixels), expected, rtol=0, atol=1e-7)


def test_a_pil_resize_is_pils():
    pixels = picture(0, 120, 90)
    expected = v2.functional.pil_to_tensor(pil(pixels).resize((60, 80), 3))  # 3 is bicubic
    assert torch.equal(apply((Resize(80, "longest", "bicubic", "pil"),), pixels), expected)


# A white picture becomes (1 - mean) / std.
def test_normalising_is_per_channel():
    white = torch.full((3, 2, 2), 255, dtype=torch.uint8)
    got = apply((ToFloat(), Normalize((0.5, 0.25, 0.0), (0.5, 0.5, 2.0))), white)
    assert got[:, 0, 0].tolist() == [1.0, 1.5, 0.5]


def test_a_crop_is_central():
    ramp = torch.arange(6, dtype=torch.uint8).expand(3, 6, 6)
    assert apply((CenterCrop(2),), ramp)[0].tolist() == [[2, 3], [2, 3]]


def test_the_pointwise_end_of_the_steps_gives_the_same_on_a_batch():
    steps = (Resize(24, "shortest", "bicubic", "pil"), CenterCrop(24), ToFloat(), CLIP_NORMALIZE)
    per_picture, per_batch = split(steps)
    assert per_batch == steps[2:]
    media = [picture(seed, 30, 40) for seed in range(3)]
    batch = apply(per_batch, torch.stack([apply(per_picture, medium) for medium in media]))
    assert torch.equal(batch, torch.stack([apply(steps, medium) for medium in media]))


def test_a_resize_after_to_float_stays_with_its_picture():
    steps = (ToFloat(), Resize(24, "longest", "bicubic", "tensor"), CLIP_NORMALIZE)
    assert split(steps) == (steps[:2], steps[2:])


def test_a_picture_too_thin_to_resize_is_refused_before_memory_is():
    with pytest.raises(InputError, match="20000x1 would be resized to 4480000x224"):
        apply((Resize(224, "shortest", "bicubic", "pil"),), torch.zeros(3, 1, 20_000).byte())


def test_steps_are_told_with_their_backend():
    steps = (Resize(224, "longest", "bicubic", "tensor", antialias=False), ToFloat())
    assert describe_steps(steps) == [
        "resize(longest 224, bicubic, tensor, no antialias)",
        "to_float",
    ]
