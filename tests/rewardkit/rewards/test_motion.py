import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import farneback
import numpy as np
import pytest
import torch
from golden.cases import load
from golden.media import clip, picture, render
from hypothesis import given
from hypothesis import strategies as st

import rewardkit
from rewardkit.engine.loader import Loader
from rewardkit.errors import InputError
from rewardkit.media.batch import Clip
from rewardkit.media.clips import read_clip, write_clip
from rewardkit.rewards.motion import degree, dynamic_degree, fastest, middle, motion_smoothness
from rewardkit.rewards.motion import temporal_stability as stability

NAMES = ["temporal-stability", "dynamic-degree", "motion-smoothness"]


def flat(*levels, fps=8.0, size=(32, 32)):
    """A clip of frames of one grey level each."""
    frames = [np.full((3, *size), level, np.uint8) for level in levels]
    return Clip(torch.from_numpy(np.stack(frames)), fps)


def chosen(of, *indices, fps=None):
    """A clip of the frames of another, by index."""
    return Clip(of.frames[list(indices)], fps or of.fps)


def moving_square(speed, frames=8, fps=8.0):
    """A textured square of 24x24 crossing a textured ground of 64x64, `speed` pixels a frame."""
    ground, square = picture(3, (64, 64)), picture(5, (24, 24))
    rendered = ground.repeat(frames, 1, 1, 1)
    for t in range(frames):
        rendered[t, :, 20:44, 4 + t * speed : 28 + t * speed] = square
    return Clip(rendered, fps)


@pytest.mark.parametrize("name", NAMES)
def test_score_equals_the_golden_file(name):
    golden, reward = load(name), rewardkit.create(name).reward
    for case in golden.cases:
        assert golden.spread >= 100 * case.atol
        score = reward.measure(render(case.medium))
        assert score == pytest.approx(case.score, abs=case.atol, rel=0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("temporal-stability", 1), ("dynamic-degree", 0), ("motion-smoothness", 1)],
)
@pytest.mark.parametrize("size", [(32, 48), (80, 64)])
def test_a_still_clip_is_perfectly_stable_and_smooth_and_not_dynamic(name, expected, size):
    assert rewardkit.create(name).reward.measure(clip(1, size, frames=6)) == expected


def test_flicker_of_any_height_costs_its_share_of_255():
    # Levels 100, 151, 100: each of two changes is 51 = 255 / 5.
    assert stability(flat(100, 151, 100)) == pytest.approx(0.8)
    # One change of three: 51 / 3 = 17 = 255 / 15.
    assert stability(flat(100, 100, 100, 151)) == pytest.approx(1 - 1 / 15)
    # The worst there is.
    assert stability(flat(0, 255, 0)) == 0


def test_more_flicker_is_less_stable_step_by_step():
    scores = [stability(clip(2, (32, 32), frames=6, flicker=level)) for level in (0, 2, 5, 10, 20)]
    assert scores == sorted(set(scores), reverse=True)


@pytest.mark.parametrize("speed", [2, 3, 4])
def test_dynamic_degree_of_a_moving_square_is_its_speed_over_the_threshold(speed):
    # The square is 14 % of the frame, so it fills the top 5 %. The threshold at 64 px is 1.5.
    score = dynamic_degree(moving_square(speed, frames=6))
    assert score == pytest.approx(speed / 1.5, rel=0.1)


def test_what_moves_in_less_than_a_twentieth_of_the_frame_hardly_counts():
    still, moved = picture(3, (128, 128)), picture(3, (128, 128))
    dot = picture(5, (12, 12))  # 0.9 % of the frame
    still[:, 60:72, 60:72] = dot
    moved[:, 60:72, 64:76] = dot
    assert dynamic_degree(Clip(torch.stack([still, moved]), 8.0)) < 1  # 4 px over 3 px is 1.33


def test_faster_is_more_dynamic_step_by_step():
    clips = [clip(4, (64, 64), frames=4, velocity=(v, 0.0)) for v in (0, 0.5, 1, 2, 4, 8)]
    scores = [dynamic_degree(one) for one in clips]
    assert scores == sorted(set(scores))


@pytest.mark.parametrize(
    ("fps", "step"), [(4.0, 1), (8.0, 1), (11.9, 1), (12.0, 2), (20.0, 2), (24.0, 3), (29.97, 4)]
)
def test_only_every_nth_frame_counts_at_higher_rates(fps, step):
    # 12 / 8 and 20 / 8 are halves: both round to 2, the even number, as VBench's Python does.
    sampled = clip(6, (32, 32), frames=4, velocity=(1.0, 0.0))
    noise = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (3 * step + 1, 3, 32, 32)))
    between = noise.byte()
    between[::step] = sampled.frames
    assert dynamic_degree(Clip(between, fps)) == dynamic_degree(sampled)


@given(st.lists(st.floats(0, 20), min_size=2, max_size=40), st.integers(16, 1024))
def test_a_degree_above_one_is_vbenchs_verdict(speeds, short_side):
    # VBench: at least round(4 n / 16) of the speeds of n frames exceed 6 px per 256.
    exceeding = sum(speed > 6.0 * (short_side / 256.0) for speed in speeds)
    moves = exceeding >= round(4 * ((len(speeds) + 1) / 16.0))
    assert (degree(speeds, short_side) > 1) == moves


def test_as_many_speeds_must_be_high_as_a_quarter_of_the_frames():
    # 16 frames, k = 4; threshold 3 at 128 px.
    assert degree([9.0] * 3 + [1.5] * 12, 128) == 0.5
    assert degree([1.5] * 11 + [9.0] * 4, 128) == 3.0
    # Two frames: one speed decides, where VBench's k of 0 would call every clip dynamic.
    assert degree([1.5], 128) == 0.5


def test_the_top_twentieth_is_averaged():
    # 100 vectors of length 1, of which one of 5 and four of 10: (5 + 4 * 10) / 5 = 9.
    flow = np.zeros((10, 10, 2))
    flow[..., 0] = 1
    flow[3, 3] = (3, 4)
    flow[7, 2:6] = (-6, 8)
    assert fastest(flow) == 9


@pytest.mark.parametrize(
    ("pixels", "low", "high"),
    [(0.25, 9, 34), (1, 4, 8), (3, 1, 4), (6, 1, 7), (12, 0, 11), (20, 0, 18)],
)
def test_dis_is_as_far_off_as_the_card_says(pixels, low, high):
    threshold = 6.0
    for seed in range(4):
        angle = seed * np.pi / 4 + 0.3
        velocity = (pixels * np.cos(angle), pixels * np.sin(angle))
        found = threshold * dynamic_degree(clip(seed, (256, 256), frames=2, velocity=velocity))
        assert low <= 100 * (found / pixels - 1) <= high


def test_noise_on_nothing_counts_as_motion_as_the_card_says():
    noise = np.random.RandomState(0).randn(6, 1, 256, 256).repeat(3, axis=1)
    frames = torch.from_numpy(np.rint(128 + noise).astype(np.uint8))
    assert dynamic_degree(Clip(frames, 8.0)) == pytest.approx(2, abs=0.5)


def test_a_ramp_of_brightness_is_smooth_and_a_blink_is_not():
    # 110 lies half way between 100 and 120.
    assert motion_smoothness(flat(100, 110, 120, 130, 140)) == 1
    # 100 is predicted twice; the frames are 151 and 100: half of 51 / 255.
    assert motion_smoothness(flat(100, 151, 100, 100, 100)) == pytest.approx(0.9)


def test_the_last_of_an_even_number_of_frames_is_left_out():
    assert motion_smoothness(flat(100, 100, 100, 255)) == 1


@pytest.mark.parametrize(("size", "speed"), [((32, 32), 2.0), ((96, 64), 3.0)])
def test_prediction_follows_the_motion(size, speed):
    drifting = clip(7, size, frames=5, velocity=(speed, 0.0))
    frames = drifting.frames.double()
    blended = (frames[:-2:2] + frames[2::2]) / 2 - frames[1::2]
    error_of_blending = blended.abs().mean().item() / 255
    assert 1 - motion_smoothness(drifting) < error_of_blending / 4


def test_the_middle_frame_is_half_way_along_the_flow():
    # A vertical line moves by 4, from column 4 to 8; told so, `middle` has it in column 6.
    line = np.zeros((3, 8, 16, 3), np.uint8)
    line[0, :, 4], line[1, :, 6], line[2, :, 8] = 200, 200, 200

    def flow(first, second):
        forth = first[0].argmax() < second[0].argmax()
        return np.full((8, 16, 2), (4.0 if forth else -4.0, 0.0), np.float32)

    np.testing.assert_array_equal(middle(line[0], line[2], flow), line[1])


def test_a_clip_played_backwards_is_as_smooth():
    moving = clip(8, (64, 64), frames=7, velocity=(2.0, -1.0), shake=1.0)
    backwards = chosen(moving, *range(6, -1, -1))
    assert motion_smoothness(backwards) == pytest.approx(motion_smoothness(moving), abs=1e-6)


def test_more_jerk_is_less_smooth_step_by_step():
    clips = [
        clip(9, (64, 64), frames=7, velocity=(2.0, 0.0), shake=shake) for shake in (0, 0.5, 1, 2, 4)
    ]
    scores = [motion_smoothness(one) for one in clips]
    assert scores == sorted(set(scores), reverse=True)


@pytest.mark.parametrize(
    ("name", "frames", "fps", "needed"),
    [
        ("temporal-stability", 1, 8.0, 2),
        ("dynamic-degree", 1, 8.0, 2),
        ("dynamic-degree", 3, 24.0, 4),
        ("motion-smoothness", 2, 8.0, 3),
    ],
)
def test_too_few_frames_are_refused_and_one_more_suffices(name, frames, fps, needed):
    reward = rewardkit.create(name).reward
    enough = clip(0, (32, 32), frames=needed, fps=fps)
    assert reward.measure(enough) == pytest.approx(reward.measure(enough))
    message = f"{name} compares frames and needs at least {needed} .* this one has {frames}"
    with pytest.raises(InputError, match=message):
        reward.measure(chosen(enough, *range(frames)))


COMPARING = (
    "temporal-stability", "dynamic-degree", "motion-smoothness", "motion-quality",
    "dynamic-degree.raft", "motion-smoothness.raft", "subject-consistency",
    "background-consistency", "videoalign.mq",
)  # fmt: skip


@pytest.mark.parametrize("choice", [{"frames": 13}, {"fps": 20.0}], ids=str)
def test_a_clip_whose_frames_sampling_repeats_is_an_error_row(tmp_path, monkeypatch, choice):
    real = Loader.__init__
    monkeypatch.setattr(Loader, "__init__", lambda self, *a, **k: real(self, *a, **k, tiny=True))
    monkeypatch.setattr("rewardkit.engine.items._made_by", lambda *_: {})
    write_clip(clip(7, (32, 32), frames=12, fps=16.0), tmp_path / "short.mp4")
    write_clip(clip(7, (32, 32), frames=24, fps=32.0), tmp_path / "long.mp4")
    spec = "+".join((*COMPARING, "aesthetic-quality"))
    report = rewardkit.score_folder(tmp_path, spec, **choice)
    rows = {row.id: row for row in report.rows}
    assert rows["long"].error is None and None not in rows["long"].scores.values()
    assert "short.mp4" in rows["short"].path and "sampling has repeated" in rows["short"].error
    assert [name for name, score in rows["short"].scores.items() if score is not None] == [
        "aesthetic-quality"
    ], "which compares nothing"


def test_a_clip_sampled_in_memory_knows_that_it_repeats_frames():
    faster = clip(7, (32, 32), frames=12, fps=16.0).sampled(17)
    assert faster.repeats and faster.sampled(4).repeats
    assert not clip(7, (32, 32), frames=12, fps=16.0).sampled(16).repeats
    with pytest.raises(InputError, match="sampling has repeated some of this video"):
        stability(faster)


@pytest.mark.parametrize("name", ["dynamic-degree", "motion-smoothness"])
def test_frames_too_small_for_flow_are_refused(name):
    with pytest.raises(InputError, match=f"{name} needs frames of at least 16x16 .* is 400x15"):
        rewardkit.create(name).reward.measure(clip(0, (15, 400), frames=3))


@pytest.mark.parametrize("name", ["dynamic-degree", "motion-smoothness"])
@pytest.mark.parametrize("size", [(16, 16), (16, 700), (700, 16), (63, 64), (64, 64), (17, 33)])
def test_the_smallest_and_thinnest_frames_are_scored(name, size):
    # With other settings OpenCV reads beyond its buffers here.
    drifting = clip(0, size, frames=3, velocity=(1.0, 0.5))
    score = rewardkit.create(name).reward.measure(drifting)
    assert score > (0.9 if name == "motion-smoothness" else 0.1)


def test_frames_of_one_pixel_have_a_stability():
    assert stability(flat(0, 51, size=(1, 1))) == pytest.approx(0.8)


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_the_same_from_any_thread_and_with_any_number_of_opencvs(name):
    reward = rewardkit.create(name).reward
    clips = [clip(s, (64, 80), frames=5, velocity=(s / 2, 1.0), shake=0.5) for s in range(6)]
    alone = [reward.measure(one) for one in clips]
    threads = cv2.getNumThreads()
    try:
        for number in (1, 3):
            cv2.setNumThreads(number)
            with ThreadPoolExecutor(4) as pool:
                assert list(pool.map(reward.measure, clips * 2)) == alone * 2
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("name", NAMES)
def test_the_clip_is_left_as_it_was(name):
    moving = clip(0, (32, 32), frames=5, velocity=(1.0, 0.0))
    before = moving.frames.clone()
    rewardkit.create(name).reward.measure(moving)
    assert moving.frames.equal(before)


@pytest.mark.data
def test_data_juicers_motion_score_is_met_by_a_function():
    path = Path(os.environ["REWARDKIT_TEST_DATA"], "video", "video1.mp4")
    reward = rewardkit.create(f"{farneback.__file__}:motion")
    assert reward([read_clip(path)]).item() == pytest.approx(1.869317, abs=1e-3)
