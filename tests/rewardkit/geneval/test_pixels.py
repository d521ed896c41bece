"""The network's input is that of mmdet's pipeline, to the pixel."""

import pytest
import torch
from golden.mask2former import load, media, sample
from pictures import picture

from rewardkit.errors import InputError
from rewardkit.geneval.pixels import normalise, resize, resized_shape

CASES = list(zip(media(), load().pixels, strict=True))


@pytest.mark.parametrize(("medium", "expected"), CASES)
def test_pixels_are_mmdets(medium, expected):
    resized = resize(medium)
    assert list(resized.shape[1:]) == expected.resized and resized.dtype == torch.uint8
    assert sample(resized).tolist() == expected.levels
    (made,) = normalise(resized[None])
    assert list(made.shape[1:]) == expected.input and made.dtype == torch.float32
    torch.testing.assert_close(sample(made), torch.tensor(expected.normalised), rtol=0, atol=1e-6)


def test_the_pictures_are_of_every_kind():
    heights, widths = zip(*(case.resized for _, case in CASES), strict=True)
    assert any(h > w for h, w in zip(heights, widths, strict=True))
    assert any(h < w for h, w in zip(heights, widths, strict=True))
    assert any(h == w == 800 for h, w in zip(heights, widths, strict=True))
    assert max(heights) == max(widths) == 1333
    filled = [case.input != case.resized for _, case in CASES]
    assert any(filled) and not all(filled)


def test_the_filling_is_grey_before_it_is_normalised():
    (made,) = normalise(torch.zeros(1, 3, 33, 32, dtype=torch.uint8))
    grey = [(128 - m) / s for m, s in ((123.675, 58.395), (116.28, 57.12), (103.53, 57.375))]
    assert made[:, -1, -1].tolist() == pytest.approx(grey)


@pytest.mark.parametrize(
    ("number", "shape"),
    [
        ((512, 512), (800, 800)),
        ((480, 640), (800, 1067)),  # 1066.67
        ((600, 1000), (800, 1333)),  # 1333.33
        ((1000, 200), (1333, 267)),  # 266.6
        ((1600, 1333), (960, 800)),  # 960.24
        ((2666, 1), (1333, 1)),  # 0.5 is a half, and goes up
    ],
)
def test_halves_go_up(number, shape):
    assert resized_shape(*number) == shape


def test_a_picture_that_would_vanish_is_refused():
    with pytest.raises(InputError, match="an image of 4000x1 pixels is too thin"):
        resize(picture(0, 1, 4000))
