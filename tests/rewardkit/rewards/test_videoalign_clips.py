"""VideoAlign sees clips of any rate, turned, short or damaged, from files and from memory."""

from fractions import Fraction

import av
import pytest
import torch
from golden.media import clip

import rewardkit
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.media.batch import Sample
from rewardkit.media.clips import read_clip, write_clip
from rewardkit.rewards.videoalign import frame_indices

CARD = entry("videoalign.vq").card


@pytest.fixture(scope="module")
def judge():
    return entry(CARD.name).cls.load(CARD, Loader("cpu", tiny=True)).extractor


@pytest.fixture
def tiny(monkeypatch):
    """Small random networks where a command would load weights."""
    real = Loader.__init__
    monkeypatch.setattr(Loader, "__init__", lambda self, *a, **k: real(self, *a, **k, tiny=True))
    monkeypatch.setattr("rewardkit.engine.items._made_by", lambda *_: {})


def write_variable(path, waits):
    """A video whose frames are shown for these thousandths of a second, one after the other."""
    frames = clip(7, (64, 64), len(waits)).frames.permute(0, 2, 3, 1).contiguous().numpy()
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"crf": "10", "threads": "1"})
        stream.width = stream.height = 64
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        start = 0
        for picture, wait in zip(frames, waits, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = start, Fraction(1, 1000)
            file.mux(stream.encode(frame))
            start += wait
        file.mux(stream.encode())


# A second has one pair of frames: 2.5 seconds are 2.5 pairs, half to even.
@pytest.mark.parametrize(
    ("fps", "number", "looked_at"),
    [
        (24.0, 60, [0, 20, 39, 59]),
        (25.0, 75, [0, 15, 30, 44, 59, 74]),
        (30.0, 105, [0, 15, 30, 45, 59, 74, 89, 104]),
        (60.0, 90, [0, 30, 59, 89]),
        (24000 / 1001, 24, [0, 8, 15, 23]),
    ],
)
def test_a_file_is_looked_at_as_the_same_clip_in_memory(tmp_path, judge, fps, number, looked_at):
    made = clip(3, (32, 48), number, fps)
    write_clip(made, tmp_path / "a.mp4")
    read = read_clip(tmp_path / "a.mp4")
    assert read.stated_fps == fps
    assert frame_indices(number, fps) == looked_at
    seen = judge.prepare(Sample(read))
    from_memory = judge.prepare(Sample(rewardkit.Clip(read.frames, fps)))
    assert torch.equal(seen.frames, from_memory.frames) and seen.ids == from_memory.ids
    assert seen.grid[0] == len(looked_at) // 2


def test_a_variable_rate_is_the_one_that_the_file_states(tmp_path, judge):
    # Ten frames for 0.1 s each, ten for 0.3 s: 19 intervals of 3.7 s; libav states 20 in 3.33 s.
    write_variable(tmp_path / "a.mp4", [100] * 10 + [300] * 10)
    read = read_clip(tmp_path / "a.mp4")
    assert read.fps == pytest.approx(19 / 3.7)
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert read.stated_fps == float(file.streams.video[0].average_rate) != read.fps
    asked = frame_indices(20, read.stated_fps)
    seen = judge.prepare(Sample(read))
    assert seen.grid[0] == len(asked) // 2
    sampled = read_clip(tmp_path / "a.mp4", fps=8)
    assert sampled.stated_fps is None, "and a sampled file is a clip of its own"


def test_a_turned_file_is_looked_at_upright(tmp_path, judge):
    still = clip(3, (96, 48), 8)
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=8, options={"crf": "10", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 48, "yuv420p"
        stream.set_display_rotation(90)
        for picture in still.frames.rot90(-1, dims=(2, 3)).permute(0, 2, 3, 1):
            frame = av.VideoFrame.from_ndarray(picture.contiguous().numpy(), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    read = read_clip(tmp_path / "a.mp4")
    assert read.stated_fps == 8.0
    seen, upright = (judge.prepare(Sample(medium)) for medium in (read, still))
    assert seen.grid == upright.grid and seen.grid[1] > seen.grid[2]
    assert (seen.frames.float() - upright.frames.float()).abs().mean() < 3


BAD = {
    "one frame": "a clip needs at least 2, and this one has 1",
    "cut short": "cannot be decoded as a video",
    "no video": "cannot be decoded as a video",
    "thin": "one side may be at most 200 times the other",
}


def test_bad_clips_in_a_folder_are_errors_and_cost_nothing_else(tmp_path, tiny):
    for name in ("good one", "good two", "cut short"):
        write_clip(clip(len(name), (32, 48), 8), tmp_path / f"{name}.mp4")
    whole = (tmp_path / "cut short.mp4").read_bytes()
    (tmp_path / "cut short.mp4").write_bytes(whole[: len(whole) // 2])
    write_clip(clip(1, (32, 48), 1), tmp_path / "one frame.mp4")
    (tmp_path / "no video.mp4").write_bytes(b"no video")
    write_clip(clip(1, (10, 2100), 4), tmp_path / "thin.mp4")
    spec = "videoalign.vq+videoalign.mq+dynamic-degree"
    report = rewardkit.score_folder(tmp_path, spec, kind="video", batch_size=2)
    rows = {row.id: row for row in report.rows}
    assert len(rows) == 6 and report.failed == 4
    for name in ("good one", "good two"):
        assert rows[name].error is None and None not in rows[name].scores.values()
    for name, what in BAD.items():
        assert what in rows[name].error
        assert rows[name].scores["videoalign.vq"] is rows[name].scores["videoalign.mq"] is None


def test_vq_and_mq_score_a_folder_without_prompts(tmp_path, tiny):
    write_clip(clip(2, (32, 48), 4), tmp_path / "a.mp4")
    report = rewardkit.score_folder(tmp_path, "videoalign.vq+videoalign.mq", kind="video")
    assert report.failed == 0
    with pytest.raises(rewardkit.errors.UsageError, match=r"videoalign\.ta needs one"):
        rewardkit.score_folder(tmp_path, "videoalign.vq+videoalign.ta", kind="video")
