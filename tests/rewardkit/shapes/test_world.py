"""Scenes are drawn as they are described, and their things keep apart."""

from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from rewardkit.shapes.world import BACKGROUND, COLOURS, MASKS, SHAPES, Thing, places, render


def test_a_scene_is_its_masks_in_their_colours_on_the_background():
    scene = [Thing("cross", "red", 0, 0), Thing("square", "white", 3, 2)]
    assert scene[1].box == (16, 24, 23, 31)  # column 2 and row 3 of cells 8 wide, shapes 7
    (picture,) = render([scene])
    assert (picture.shape, picture.dtype) == ((3, 32, 32), np.uint8)
    assert tuple(picture[:, 0, 0]) == BACKGROUND  # a cross lacks its corners
    assert tuple(picture[:, 0, 2]) == tuple(picture[:, 3, 3]) == COLOURS["red"]
    assert tuple(picture[:, 24, 16]) == tuple(picture[:, 30, 22]) == COLOURS["white"]
    assert tuple(picture[:, 31, 23]) == tuple(picture[:, 23, 16]) == BACKGROUND
    # By hand: a cross has 7 * 3 + 3 * 4 pixels, a square 7 * 7.
    drawn = (picture != np.array(BACKGROUND)[:, None, None]).any(axis=0)
    assert drawn.sum() == 33 + 49


def test_each_scene_has_a_picture_of_its_own():
    pictures = render([[Thing("ring", "blue", 0, 0)], [], [Thing("ring", "blue", 1, 1)]])
    assert (pictures[1] == np.array(BACKGROUND)[:, None, None]).all()
    assert np.array_equal(pictures[0][:, :8, :8], pictures[2][:, 8:16, 8:16])


@pytest.mark.parametrize(("one", "other"), list(combinations(SHAPES, 2)))
def test_two_shapes_share_two_thirds_at_most(one, other):
    shared, either = MASKS[one] & MASKS[other], MASKS[one] | MASKS[other]
    assert shared.sum() / either.sum() <= 0.675


@given(st.integers(1, 4), st.integers(0, 2**32))
def test_no_two_things_touch_not_even_at_a_corner(number, seed):
    cells = places(number, np.random.default_rng(seed))
    assert len(cells) == number
    assert all(0 <= row < 4 and 0 <= column < 4 for row, column in cells)
    for (row, column), (other_row, other_column) in combinations(cells, 2):
        assert abs(row - other_row) > 1 or abs(column - other_column) > 1


def test_every_cell_is_used():
    rng = np.random.default_rng(0)
    assert len({places(1, rng)[0] for _ in range(400)}) == 16
