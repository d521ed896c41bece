"""Frames of a clip are chosen by stated rules, and never by the last digits of a float."""

from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from rewardkit.errors import UsageError
from rewardkit.media.batch import Clip, Sample
from rewardkit.media.clips import read_clip, write_clip
from rewardkit.media.sampling import sample_count, sample_indices

# 20 frames, 10 per second: 0 to 1.9 s.
TENTHS = [i / 10 for i in range(20)]


@pytest.mark.parametrize(
    ("times", "fps", "count", "indices"),
    [
        (TENTHS, None, None, list(range(20))),
        (TENTHS, 10, None, list(range(20))),
        ([0.0, 1 / 49], 49, None, [0, 1]),  # 1 / 49 * 49 is 0.999... in floats
        (TENTHS, 5, None, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]),
        (TENTHS, 2, None, [0, 5, 10, 15]),
        (TENTHS, 0.5, None, [0]),  # the next would be at 2.0
        ([0.0, 0.1], 20, None, [0, 0, 1]),  # 0.05 is as near to both: the earlier
        ([7.0, 7.5, 8.0], 2, None, [0, 1, 2]),  # clocks need not start at 0
        ([0.0], 24, None, [0]),
        (TENTHS, None, 1, [0]),
        (TENTHS, None, 2, [0, 19]),
        (TENTHS, None, 3, [0, 10, 19]),  # 9.5, half to even
        ([0.0, 0.1], None, 4, [0, 0, 1, 1]),  # 1/3, 2/3
        ([0.0], None, 3, [0, 0, 0]),
    ],
)
def test_frames_are_chosen_by_hand_computed_rules(times, fps, count, indices):
    assert sample_indices(times, fps, count) == indices


ascending = st.lists(
    st.floats(0, 100, allow_subnormal=False), min_size=1, max_size=40, unique=True
).map(sorted)


@given(ascending, st.integers(1, 60))
def test_a_number_of_frames_is_that_many_in_order_with_both_ends(times, count):
    indices = sample_indices(times, count=count)
    assert len(indices) == count
    assert indices == sorted(indices)
    assert indices[0] == 0
    assert count == 1 or indices[-1] == len(times) - 1
    evenly = np.linspace(0, len(times) - 1, count).round()
    assert np.abs(np.array(indices) - evenly).max() <= 1  # the two may round a half apart


@given(ascending, st.floats(0.1, 50))
def test_a_rate_takes_the_nearest_frame_to_every_tick(times, fps):
    indices = sample_indices(times, fps)
    assert len(indices) == pytest.approx((times[-1] - times[0]) * fps + 0.5, abs=0.51)
    for k, index in enumerate(indices):
        tick = times[0] + k / fps
        nearest = min(abs(time - tick) for time in times)
        assert abs(times[index] - tick) <= nearest + 1e-6 * (times[-1] - times[0])


@given(
    st.lists(st.floats(0, 1e12), min_size=1, max_size=5).map(sorted),
    st.floats(1e-3, 1e4) | st.none(),
)
def test_the_number_told_is_that_of_the_frames_taken(times, fps):
    number = sample_count(times, fps)
    assert number >= 1
    if number < 10_000:
        assert len(sample_indices(times, fps)) == number


RATES = [Fraction(*rate) for rate in ((24, 1), (25, 1), (30, 1), (60, 1), (30000, 1001), (16, 1))]


def exact_indices(number, rate, fps):
    """The rule in exact numbers: the frame nearest to k / fps, the earlier of two equally near."""
    last = Fraction(number - 1) / rate
    ticks = [k / fps for k in range(int(last * fps) + 1)]
    return [min(range(number), key=lambda i: (abs(i / rate - tick), i)) for tick in ticks]


@given(
    st.integers(1, 60),
    st.sampled_from(RATES),
    st.sampled_from([1, 2, 3, 4, 5, 7, 8, 10, 12, 24, 48]),
    st.sampled_from([0.0, 1 / 3, 0.1, 10.7, 3600.01]),
)
def test_a_tie_between_frames_does_not_depend_on_when_the_clip_begins(number, rate, fps, start):
    times = [start + float(i / rate) for i in range(number)]
    assert sample_indices(times, fps) == exact_indices(number, rate, Fraction(fps))


def levels(number, fps):
    """A clip whose frames hold their own numbers."""
    frames = torch.arange(number, dtype=torch.uint8)[:, None, None, None]
    return Clip(frames.expand(-1, 3, 16, 16), fps)


def numbers(frames):
    return frames[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("number", "rate", "fps", "kept"),
    [
        (9, 8.0, 2.0, [0, 4, 8]),
        (10, 25.0, 10.0, [0, 2, 5, 7]),  # 2.5 and 7.5 frames in: the earlier
        (4, 30.0, 24.0, [0, 1, 2]),  # 1.25, 2.5: the earlier of 2 and 3
        (5, 23.976, 2.0, [0]),
        (1, 24.0, 2.0, [0]),
        (3, 2.0, 4.0, [0, 0, 1, 1, 2]),  # half way between frames: the earlier
    ],
)
def test_a_clip_at_another_rate_keeps_the_nearest_frames(number, rate, fps, kept):
    sampled = levels(number, rate).sampled(fps)
    assert numbers(sampled.frames) == kept and sampled.fps == fps


def test_a_sample_gives_its_frames_and_none_of_them_twice():
    assert numbers(Sample(levels(9, 8.0)).frames(2.0)) == [0, 4, 8]
    assert numbers(Sample(levels(3, 2.0)).frames(4.0)) == [0, 1, 2]
    assert numbers(Sample(levels(3, 2.0)).frames()) == [0, 1, 2]
    picture = torch.full((3, 4, 4), 7, dtype=torch.uint8)
    assert torch.equal(Sample(picture).frames(2.0), picture[None])
    with pytest.raises(UsageError, match="fps is a positive number"):
        Sample(levels(3, 2.0)).frames(0.0)


@pytest.mark.parametrize("fps", [2.0, 5.0, 8.0, 12.0])
def test_sampling_in_memory_and_on_reading_choose_the_same_frames(tmp_path, fps):
    write_clip(levels(25, 24.0), tmp_path / "a.mp4")
    whole = read_clip(tmp_path / "a.mp4")
    assert torch.equal(whole.sampled(fps).frames, read_clip(tmp_path / "a.mp4", fps=fps).frames)
