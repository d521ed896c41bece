"""Frozen and shaken clips both lose; steady ones get what analysis says."""

import numpy as np
import pytest
import torch
from golden.media import clip, picture

import rewardkit
from rewardkit.errors import InputError
from rewardkit.media.batch import Clip
from rewardkit.rewards.motion_quality import motion_quality, steadiness

SIZE = (96, 96)


def drifting(velocity=4.0, seed=0, fps=8.0, **motion):
    return clip(seed, SIZE, frames=9, fps=fps, velocity=(velocity, 0.0), **motion)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("velocity", "shake", "expected"), [(4, 0, 1), (4, 1, 3 / 4), (4, 2, 1 / 2), (0, 4, 0)]
)
def test_a_shake_costs_its_share_of_the_motion(seed, velocity, shake, expected):
    """Steps of v + s and v - s in turn: the change is 2 s of each 2 v. The degree is above 1."""
    assert motion_quality(drifting(velocity, seed, shake=shake)) == pytest.approx(
        expected, abs=0.02
    )


@pytest.mark.parametrize("seed", range(3))
def test_frozen_and_shaken_clips_both_lose(seed):
    ground = picture(seed, (140, 140))
    jumps = np.random.RandomState(seed).randint(-8, 9, (9, 2))
    jittered = torch.stack([ground[:, 20 + y : 116 + y, 20 + x : 116 + x] for x, y in jumps])
    moving = motion_quality(drifting(4.0, seed))
    assert motion_quality(drifting(0.0, seed)) == 0
    assert motion_quality(Clip(jittered, 8.0)) < 0.5 * moving
    # The rewards it is made against prefer what loses here.
    smooth, dynamic = (
        rewardkit.create(name).reward for name in ("motion-smoothness", "dynamic-degree")
    )
    assert smooth.measure(drifting(0.0, seed)) > smooth.measure(drifting(4.0, seed))
    assert dynamic.measure(Clip(jittered, 8.0)) > dynamic.measure(drifting(4.0, seed))


def test_slow_motion_counts_as_its_share_of_the_threshold():
    # The threshold is 6 pixels per 256: 2.25 of 96.
    for velocity in (0.5, 1.0, 1.5):
        assert motion_quality(drifting(velocity)) == pytest.approx(velocity / 2.25, rel=0.15)


def test_more_speed_than_the_threshold_is_worth_nothing():
    assert motion_quality(drifting(6.0)) == pytest.approx(motion_quality(drifting(3.0)), abs=0.01)


def test_a_clip_too_short_for_its_rate_is_refused_under_its_own_name():
    with pytest.raises(InputError, match=r"motion-quality compares frames and needs at least 13"):
        motion_quality(Clip(drifting(2.0).frames[:4], 96.0))


def test_doubled_frames_stutter():
    even = drifting(4.0)
    stuttering = Clip(even.frames.repeat_interleave(2, 0), 16.0)
    assert motion_quality(even) > 0.98 and motion_quality(stuttering) == pytest.approx(0, abs=0.01)


def test_a_shake_between_the_frames_of_the_dynamic_degree_is_seen():
    # At 16 frames a second it looks at every second frame, which here drift evenly.
    assert motion_quality(drifting(2.0, fps=16.0, shake=4.0)) < 0.05
    assert motion_quality(drifting(2.0, fps=16.0)) > 0.95


def test_steadiness_follows_points_that_move():
    # A square with flow (2, 0) on still ground: seen from its points it goes on as it went.
    flows = []
    for left in (2, 4, 6):
        flow = np.zeros((12, 16, 2), np.float32)
        flow[3:9, left : left + 6, 0] = 2
        flows.append(flow)
    assert steadiness(flows) > 0.8
    assert steadiness([flows[0], -flows[1]]) < 0.2
    still = np.zeros_like(flows[0])
    assert steadiness([still, still]) == 0 and steadiness([flows[0], still]) == 0


def test_a_clip_of_two_frames_is_refused():
    few = Clip(drifting().frames[:2], 8.0)
    with pytest.raises(InputError, match="motion-quality compares frames and needs at least 3"):
        motion_quality(few)


def test_noise_on_nothing_scores_low():
    noise = np.random.RandomState(0).randn(6, 1, 96, 96).repeat(3, axis=1)
    frames = torch.from_numpy(np.rint(128 + noise).astype(np.uint8))
    assert motion_quality(Clip(frames, 8.0)) < 0.4
