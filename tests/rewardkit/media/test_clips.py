import math
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from rewardkit.engine.folder import score_folder
from rewardkit.errors import InputError, UsageError
from rewardkit.media import libav
from rewardkit.media.batch import Clip
from rewardkit.media.clips import read_clip, write_clip


def smooth_clip(frames=6, height=48, width=64, fps=10.0):
    """Broad waves that move: H.264 keeps them nearly as they are."""
    t, y, x = np.mgrid[0:frames, 0:height, 0:width]
    waves = [np.sin(x / 9 + t), np.sin(y / 7 - t), np.sin((x + y) / 11 + t / 2)]
    rgb = np.stack(waves, axis=1) * 90 + 128
    return Clip(torch.from_numpy(rgb.astype(np.uint8)), fps)


def bare_frames(path):
    """What PyAV alone makes of a file."""
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def numpy_of(clip):
    return clip.frames.permute(0, 2, 3, 1).numpy()


def test_every_bad_clip_scores_or_fails_as_it_should(corpus):
    outcomes = {}
    clips = {name: bad for name, bad in corpus.items() if bad.kind == "video"}
    for name, bad in clips.items():
        try:
            assert isinstance(read_clip(bad.path), Clip)
            outcomes[name] = "score"
        except InputError:
            outcomes[name] = "error"
    assert outcomes == {name: bad.expect for name, bad in clips.items()}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.mp4", r"is empty \(0 bytes\)"),
        ("text.mp4", "it looks like text"),
        ("photo.mp4", "it looks like a JPEG picture"),
        ("cut.mp4", r"0\.50 s \(5 frames\) are whole, of 1\.20 s that it promises"),
        ("cut.mkv", r"1\.40 s \(14 frames\) are whole, of 3\.00 s that it"),
        ("cut.avi", r"1\.\d0 s \(1\d frames\) are whole, of 3\.00 s that it"),
        ("damaged.mp4", r"is damaged: frame \d+ "),
        ("song.mp4", "has no video stream; it holds: audio"),
        ("no-frames.mp4", "has a video stream without a single frame"),
        ("nothing.mp4", "has no video stream; it holds: nothing"),
    ],
)
def test_a_refusal_says_why(corpus, name, reason):
    with pytest.raises(InputError, match=reason):
        read_clip(corpus[name].path)


def test_frames_are_libavs_and_their_view_has_channels_last(corpus):
    clip = read_clip(corpus["whole.mp4"].path)
    assert np.array_equal(numpy_of(clip), bare_frames(corpus["whole.mp4"].path))
    assert clip.frames.stride() == (48 * 64 * 3, 1, 64 * 3, 3)
    assert clip.fps == 10


@pytest.mark.parametrize("size", [(48, 64), (33, 17), (1, 1)])
def test_a_clip_comes_back_nearly_as_it_was_written(tmp_path, size):
    clip = smooth_clip(3, *size, fps=30000 / 1001)
    write_clip(clip, tmp_path / "a.mp4")
    back = read_clip(tmp_path / "a.mp4")
    assert back.frames.shape == clip.frames.shape
    assert back.fps == pytest.approx(30000 / 1001, rel=1e-4)
    error = (back.frames.double() - clip.frames.double()).pow(2).mean()
    assert error < 20  # PSNR above 35 dB


def test_writing_gives_the_same_file_each_time(tmp_path):
    for name in ("a", "b"):
        write_clip(smooth_clip(2, 192, 256), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    # x264 notes its settings in the file: not a number of threads taken from the machine.
    assert b" threads=1 " in (tmp_path / "a").read_bytes()


def test_the_rate_of_uneven_frames_is_their_average(corpus):
    # 6 frames at 0, 0.1, 0.2, 0.8, 0.9 and 1.0 s.
    assert read_clip(corpus["uneven.mp4"].path).fps == pytest.approx(5 / 1.0)


def test_the_rate_of_a_single_frame_is_what_the_file_says(corpus):
    assert read_clip(corpus["single.mp4"].path).fps == 10
    assert read_clip(corpus["whole.mp4"].path, frames=1).fps == 10


def test_frames_are_taken_by_rate(corpus):
    whole = read_clip(corpus["whole.mp4"].path)
    half = read_clip(corpus["whole.mp4"].path, fps=5)
    assert torch.equal(half.frames, whole.frames[::2])
    assert half.fps == 5


def test_frames_are_taken_by_rate_on_their_own_clock(corpus):
    # 0, 0.1, 0.2, 0.8, 0.9, 1.0 s at 2 per second: at 0, 0.5 and 1.0. 0.5 is as near to 0.2 as to
    # 0.8: the earlier one, frame 2, is taken.
    whole = read_clip(corpus["uneven.mp4"].path)
    assert torch.equal(read_clip(corpus["uneven.mp4"].path, fps=2).frames, whole.frames[[0, 2, 5]])


def test_frames_are_taken_by_number(corpus):
    # 12 frames, 4 wanted: 0, 11/3, 22/3, 11 -> 0, 4, 7, 11; three steps in 1.1 s.
    whole = read_clip(corpus["whole.mp4"].path)
    four = read_clip(corpus["whole.mp4"].path, frames=4)
    assert torch.equal(four.frames, whole.frames[[0, 4, 7, 11]])
    assert four.fps == pytest.approx(3 / 1.1)


def test_the_size_is_judged_before_anything_is_decoded(corpus, monkeypatch):
    path = corpus["whole.mp4"].path
    size = 12 * 48 * 64 * 3  # 110,592 bytes
    assert len(read_clip(path, max_bytes=size).frames) == 12
    assert len(read_clip(path, max_bytes=size - 1, frames=11).frames) == 11

    def refuse(*args):
        raise AssertionError("decoded")

    monkeypatch.setattr(libav, "decode", refuse)
    with pytest.raises(InputError, match=r"take 110,592 bytes; accepted are 110,591\..*--frames"):
        read_clip(path, max_bytes=size - 1)


@pytest.mark.parametrize(
    "choice", [{"fps": 5, "frames": 3}, {"fps": 0}, {"fps": float("nan")}, {"frames": 0}]
)
def test_a_choice_that_makes_no_sense_is_a_wrong_request(corpus, choice):
    with pytest.raises(UsageError):
        read_clip(corpus["whole.mp4"].path, **choice)


def test_odd_names_and_links_are_no_obstacle(tmp_path):
    name = os.fsdecode(b"file:a\n\xff%d.mp4")
    write_clip(smooth_clip(2), tmp_path / "a.mp4")
    (tmp_path / "a.mp4").rename(tmp_path / name)
    assert len(read_clip(str(tmp_path / name)).frames) == 2


@pytest.mark.data
@pytest.mark.parametrize("name", ["video/video1.mp4", "videoalign/example_1_A.mp4"])
def test_real_clips_are_read_frame_by_frame_as_libav_reads_them(name):
    path = str(Path(os.environ["REWARDKIT_TEST_DATA"], name))
    clip = read_clip(path)
    assert clip.fps == pytest.approx(24)
    assert np.array_equal(numpy_of(clip), bare_frames(path))


# What asks for more frames than any memory holds is refused by its number.


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """Three frames of which the last is shown after 35 years."""
    path = tmp_path_factory.mktemp("far") / "far.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for stamp in (0, 100, 2**40):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_far_time_stamp_takes_no_more_than_the_limit(far):
    with pytest.raises(InputError, match=r"8,796,093,02. frames of 32 x 32 .*--fps"):
        read_clip(far, fps=8)


@pytest.mark.parametrize("name", ["whole.mp4", "wink.gif"])
@pytest.mark.parametrize(
    "choice", [{"fps": 1e12}, {"fps": 1e300}, {"fps": 1.7e308}, {"frames": 10**9}], ids=str
)
def test_more_frames_than_memory_holds_are_refused_at_once(corpus, animation, name, choice):
    path = animation if name.endswith("gif") else corpus[name].path
    with pytest.raises(InputError, match="accepted are 2,147,483,648"):
        read_clip(path, **choice)


@pytest.fixture
def animation(tmp_path):
    frames = [Image.new("RGB", (32, 32), (90 * i, 0, 0)) for i in range(3)]
    frames[0].save(tmp_path / "wink.gif", save_all=True, append_images=frames[1:], duration=100)
    return tmp_path / "wink.gif"


@pytest.mark.parametrize("choice", [{"fps": math.nan}, {"fps": math.inf}, {"frames": 0}], ids=str)
def test_a_choice_that_is_none_is_refused_before_any_clip_is_opened(tmp_path, choice):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UsageError, match="was given"):
        score_folder(tmp_path, "temporal-stability", **choice)
