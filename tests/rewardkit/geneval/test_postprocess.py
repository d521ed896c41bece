"""Objects are those that mmdet's fusion head makes of the same logits."""

import pytest
import torch
from golden.mask2former import cases, instances_of, load
from torch.nn.functional import interpolate

from rewardkit.geneval.postprocess import objects
from rewardkit.geneval.rules import THRESHOLD

GOLDEN = load().instances
CASES = [
    (classes, masks, resized, tuple(4 * side for side in masks.shape[1:]), size)
    for classes, masks, resized, size in cases()
]


def straight(classes, masks, resized, filled, size):
    """The rule as it is told, candidate by candidate: (label, x1, y1, x2, y2, score, lit)."""
    probabilities = classes.double().softmax(-1)
    candidates = sorted(
        ((float(probabilities[q, c]), q, c) for q in range(len(classes)) for c in range(80)),
        reverse=True,
    )
    found = []
    for probability, q, c in candidates[:100]:
        logits = interpolate(masks[None, q : q + 1].double(), size=filled, mode="bilinear")
        logits = logits[:, :, : resized[0], : resized[1]]
        logits = interpolate(logits, size=size, mode="bilinear")[0, 0]
        y, x = (logits > 0).nonzero(as_tuple=True)
        lit = len(y)
        box = (int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1) if lit else (0,) * 4
        sure = float(logits[y, x].sigmoid().sum()) / (lit + 1e-6)
        found.append((c, *box, probability * sure, lit))
    return found


@pytest.mark.parametrize(("case", "expected"), list(zip(CASES, GOLDEN, strict=True)))
def test_objects_are_mmdets(case, expected):
    found = objects(*case, lowest=0)
    got = instances_of(found.labels, found.rows, found.masks)
    assert got.labels == expected.labels and got.lit == expected.lit
    torch.testing.assert_close(
        torch.tensor(got.rows), torch.tensor(expected.rows), rtol=0, atol=1e-5
    )
    rows = torch.tensor(expected.rows)
    assert len(rows) == 100 and (rows[:, 4] > THRESHOLD).sum() > 10
    assert ((rows[:, :2] > 0) & (rows[:, 2:4] < torch.tensor(case[4][::-1]))).any()


@pytest.mark.parametrize("case", CASES)
def test_objects_are_those_of_the_rule_told_straight(case):
    found = objects(*case, lowest=0)
    got = [
        (int(label), *row.tolist(), int(mask.sum()))
        for label, row, mask in zip(found.labels, found.rows, found.masks, strict=True)
    ]
    for ours, expected in zip(got, straight(*case), strict=True):
        assert ours == pytest.approx(expected, rel=0, abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_what_is_left_out_is_not_above_the_lowest_threshold(case):
    whole, found = objects(*case, lowest=0), objects(*case)
    kept = len(found.labels)
    assert 0 < kept < 100
    assert torch.equal(found.labels, whole.labels[:kept])
    assert torch.equal(found.rows, whole.rows[:kept])
    assert torch.equal(found.masks, whole.masks[:kept])
    assert (whole.rows[kept:, 4] <= THRESHOLD).all() and (whole.rows[:kept, 4] > THRESHOLD).any()


def test_one_query_is_an_object_of_every_class_it_may_be():
    classes = torch.full((2, 4), -9.0)
    classes[0, :2] = torch.tensor([3.1, 3.0])
    classes[1, 3] = 9.0  # no object
    masks = torch.full((2, 8, 8), -5.0)
    masks[0, 2:5, 1:7] = 5.0
    found = objects(classes, masks, (32, 32), (32, 32), (32, 32))
    assert found.labels.tolist() == [0, 1]
    assert torch.equal(found.masks[0], found.masks[1])
    assert found.rows[:, :4].tolist() == [[4, 8, 28, 20]] * 2
    assert found.rows[0, 4] > found.rows[1, 4] > 0.4


def test_a_picture_of_nothing_has_no_objects():
    found = objects(torch.zeros(5, 81), torch.ones(5, 8, 8), (32, 32), (32, 32), (20, 30))
    assert found.labels.shape == (0,)
    assert found.rows.shape == (0, 5) and found.masks.shape == (0, 20, 30)
