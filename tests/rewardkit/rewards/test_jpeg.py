import numpy as np
import pytest
import torch
from golden.cases import load
from golden.media import picture, render
from PIL import Image

import rewardkit
from rewardkit.errors import InputError
from rewardkit.rewards.jpeg import jpeg_kilobytes


@pytest.mark.parametrize("name", ["jpeg-compressibility", "jpeg-incompressibility"])
def test_score_equals_ddpo(name):
    golden, reward = load(name), rewardkit.create(name).reward
    for case in golden.cases:
        assert golden.spread >= 100 * case.atol
        score = reward.measure(render(case.medium))
        assert score == pytest.approx(case.score, abs=case.atol, rel=0)


def test_size_is_that_of_a_file_on_disk_in_thousands_of_bytes(tmp_path):
    pixels = picture(0, (48, 64)).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "picture.jpg", quality=95)
    assert jpeg_kilobytes(pixels) == (tmp_path / "picture.jpg").stat().st_size / 1000


def test_compressibility_is_minus_incompressibility():
    pixels = picture(1, (48, 64))
    less, more = (
        rewardkit.create(name).reward.measure(pixels)
        for name in ("jpeg-compressibility", "jpeg-incompressibility")
    )
    assert less == -more < 0


def test_noise_makes_a_picture_less_compressible_step_by_step():
    noise = np.random.RandomState(0).randn(64, 64, 3)
    sizes = [
        jpeg_kilobytes((128 + strength * noise).clip(0, 255).astype(np.uint8))
        for strength in (0, 2, 8, 32)
    ]
    assert sizes == sorted(set(sizes))


def test_a_side_longer_than_a_jpeg_can_be_is_refused():
    assert jpeg_kilobytes(np.zeros((1, 65_500, 3), np.uint8)) > 0
    reward = rewardkit.create("jpeg-compressibility").reward
    with pytest.raises(InputError, match="at most 65500 pixels on a side; this image is 65501x1"):
        reward.measure(torch.zeros(3, 1, 65_501, dtype=torch.uint8))


def test_the_picture_is_left_as_it_was():
    pixels = picture(2, (40, 56))
    before = pixels.clone()
    rewardkit.create("jpeg-compressibility").reward.measure(pixels)
    assert pixels.equal(before)
