import cv2
import numpy as np
import pytest
import torch
from golden.cases import load
from golden.media import picture, render
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import rewardkit
from rewardkit.rewards.pixels import colorfulness, contrast, exposure, grey, sharpness

NAMES = ["sharpness", "colorfulness", "contrast", "exposure"]
SIDES = st.integers(1, 12)
PICTURES = st.tuples(SIDES, SIDES, st.just(3)).flatmap(lambda shape: arrays(np.uint8, shape))
GREY_PICTURES = st.tuples(SIDES, SIDES, st.just(1)).flatmap(
    lambda shape: arrays(np.uint8, shape).map(lambda grey: grey.repeat(3, axis=2))
)


def flat(*rgb, size=(8, 8)):
    return np.full((*size, 3), rgb, np.uint8)


def side_by_side(left, right):
    return np.concatenate([left, right], axis=1)


def detailed():
    return picture(10, (64, 80)).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_score_equals_the_formula_computed_elsewhere(name):
    golden, reward = load(name), rewardkit.create(name).reward
    for case in golden.cases:
        assert golden.spread >= 100 * case.atol
        score = reward.measure(render(case.medium))
        assert score == pytest.approx(case.score, abs=case.atol, rel=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_one_pixel_has_a_score(name):
    # A pixel of level 128 alone: no edges, no spread, no colour, almost mid-grey.
    expected = {"exposure": pytest.approx(1, abs=1e-3)}.get(name, 0)
    score = rewardkit.create(name).reward.measure(torch.full((3, 1, 1), 128, dtype=torch.uint8))
    assert score == expected


@given(PICTURES)
def test_scores_lie_in_the_range_of_the_card(pixels):
    for name in NAMES:
        reward = rewardkit.create(name).reward
        low, high = reward.card.range
        assert low <= reward.measure(torch.from_numpy(pixels).permute(2, 0, 1)) <= high


def test_luma_is_bt_601():
    # 0.299, 0.587 and 0.114 of 255 are 76.2, 149.7 and 29.1.
    primaries = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert grey(primaries).tolist() == [[76, 150, 29]]


def test_sharpness_of_a_step_is_that_of_its_two_columns():
    # Laplacian: +100 in the column left of a step from 0 to 100, -100 right of it, 0 in the
    # other 6 of 8 columns. Variance = (100^2 + 100^2) / 8 = 2500.
    step = side_by_side(flat(0, 0, 0, size=(8, 4)), flat(100, 100, 100, size=(8, 4)))
    assert sharpness(step) == 2500


def test_the_sharpest_picture_is_a_chessboard_of_pixels():
    # Every Laplacian is +-4 * 255, mirrored neighbours included: variance 1020^2.
    board = np.indices((6, 8)).sum(axis=0) % 2 * 255
    score = sharpness(board.astype(np.uint8)[..., None].repeat(3, axis=2))
    assert score == rewardkit.create("sharpness").reward.card.range[1] == 1020**2


def test_sharpness_is_what_everybody_types_into_opencv():
    pixels = detailed()
    typed = cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var()
    assert sharpness(pixels) == typed


@given(PICTURES.map(lambda pixels: pixels // 2), st.integers(0, 127))
def test_sharpness_and_contrast_ignore_brightness(pixels, brighter):
    assert sharpness(pixels + np.uint8(brighter)) == pytest.approx(sharpness(pixels))
    assert contrast(pixels + np.uint8(brighter)) == pytest.approx(contrast(pixels), abs=1e-9)


def test_every_blur_lowers_sharpness():
    blurred = [cv2.GaussianBlur(detailed(), (0, 0), sigma) for sigma in (0.5, 1, 2, 4)]
    scores = [sharpness(pixels) for pixels in (detailed(), *blurred)]
    assert scores == sorted(set(scores), reverse=True)


@given(GREY_PICTURES)
def test_grey_has_no_colour(pixels):
    assert colorfulness(pixels) == 0


def test_colourfulness_of_one_colour_is_its_mean_term():
    # (30, 10, 60): rg = 20, yb = 20 - 60 = -40; no spread; 0.3 sqrt(400 + 1600) = 13.4164.
    assert colorfulness(flat(30, 10, 60)) == pytest.approx(13.4164, abs=1e-4)


def test_colourfulness_keeps_the_signs_of_its_opponents():
    # Half red (rg 255, yb 127.5), half green (rg -255, yb 127.5): std 255 and 0, mean 0 and 127.5,
    # so 255 + 0.3 * 127.5 = 293.25. With |R - G| the spread would vanish.
    assert colorfulness(side_by_side(flat(255, 0, 0), flat(0, 255, 0))) == pytest.approx(293.25)


def test_the_highest_colourfulness_is_reached():
    # On the four colours farthest from grey, |(rg, yb)| = sqrt(255^2 + 127.5^2) = 285.1, with red
    # and magenta in n of 256 pixels each, green and cyan in 128 - n: the mean is off grey by
    # m = 255 (4 n - 256) / 256, and sqrt(285.1^2 - m^2) + 0.3 m peaks at m = 81.9, n = 84.55.
    corners = [(255, 0, 0), (255, 0, 255), (0, 255, 0), (0, 255, 255)]
    pixels = np.repeat(np.array(corners, np.uint8), [85, 85, 43, 43], axis=0)[None]
    high = rewardkit.create("colorfulness").reward.card.range[1]
    assert high - 0.02 < colorfulness(pixels) <= high


def test_draining_colour_lowers_colourfulness_step_by_step():
    pixels = detailed().astype(float)
    drained = [
        (pixels * share + pixels.mean(axis=-1, keepdims=True) * (1 - share)).astype(np.uint8)
        for share in (1, 0.7, 0.4, 0.1)
    ]
    scores = [colorfulness(one) for one in drained]
    assert scores == sorted(set(scores), reverse=True)


def test_contrast_of_two_levels_is_half_their_distance():
    # Levels 50 and 152: standard deviation (152 - 50) / 2 / 255 = 0.2.
    assert contrast(side_by_side(flat(50, 50, 50), flat(152, 152, 152))) == pytest.approx(0.2)
    # Black and white: the maximum.
    assert contrast(side_by_side(flat(0, 0, 0), flat(255, 255, 255))) == 0.5


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        # Level 102 is 0.4: exp(-0.1^2 / 0.08) = exp(-1/8) a channel.
        ((102, 102, 102), np.exp(-3 / 8)),
        # 0.4, 0.2 and 0: exp(-(0.1^2 + 0.3^2 + 0.5^2) / 0.08) = exp(-4.375).
        ((102, 51, 0), np.exp(-4.375)),
        # Black and white are as far as can be: exp(-3 * 0.25 / 0.08).
        ((0, 0, 0), np.exp(-9.375)),
        ((255, 255, 255), np.exp(-9.375)),
    ],
)
def test_exposure_of_one_colour_is_the_product_of_its_channels(rgb, expected):
    assert exposure(flat(*rgb)) == pytest.approx(expected, rel=1e-5)


def test_exposure_is_averaged_over_pixels():
    # Half exp(-3/8) = 0.68729, half exp(-9.375) = 0.00008.
    score = exposure(side_by_side(flat(102, 102, 102), flat(0, 0, 0)))
    assert score == pytest.approx((0.687289 + 0.000085) / 2, abs=1e-6)


@pytest.mark.parametrize("direction", [-1, 1])
def test_under_and_overexposing_lower_exposure_step_by_step(direction):
    pixels = detailed().astype(float)
    well_exposed = 127.5 + (pixels - pixels.mean(axis=(0, 1))) / 4
    scores = [
        exposure((well_exposed + direction * off).astype(np.uint8)) for off in (0, 20, 40, 60)
    ]
    assert scores == sorted(set(scores), reverse=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_is_left_as_it_was(name):
    pixels = picture(2, (40, 56))
    before = pixels.clone()
    rewardkit.create(name).reward.measure(pixels)
    assert pixels.equal(before)
